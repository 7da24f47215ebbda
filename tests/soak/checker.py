"""Judges a campaign: each rule reads the whole history and says where it was broken, with the evidence."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tests.soak.effects import EFFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.history import History, Run
    from tests.soak.judgement import Judgement, Rule


def check(history: History, judgement: Judgement) -> list[str]:
    """List everything that should not have been."""
    return [found for rule in RULES for found in rule(history, judgement)]


def _acked_jobs_exist(history: History, _: Judgement) -> Iterator[str]:
    """No enqueue that was confirmed is lost, and none that was refused is there."""
    there: dict[int, str] = {row["id"]: row["token"] for row in (*history.live, *history.past)}
    tokens = Counter(row["token"] for row in (*history.live, *history.past) if row["token"] is not None)
    for entry in history.of("acked"):
        if entry.job not in there:
            yield f"lost: job {entry.job} (token {entry.text}) was confirmed and is nowhere"
        elif there[entry.job] != entry.text:
            yield f"lost: job {entry.job} was confirmed for token {entry.text} and has token {there[entry.job]}"
    for entry in history.of("refused-enqueue"):
        if tokens[entry.text]:
            yield f"token {entry.text} was refused for certain, and is in the database"
    asked = {entry.text.split(" ", 1)[0] for entry in history.of("asked")}
    for token, count in tokens.items():
        if token not in asked:
            yield f"token {token} is in the database, and nobody asked for it"
        if count > 1:
            yield f"token {token} is in the database {count} times"


def _one_place(history: History, _: Judgement) -> Iterator[str]:
    """A job is in one place, and ends once."""
    places = Counter(row["id"] for row in (*history.live, *history.past))
    yield from (f"job {job} is in {count} places" for job, count in places.items() if count > 1)


def _one_claimer(history: History, _: Judgement) -> Iterator[str]:
    """Each fence of each job was given to one claim, and its handler begun once."""
    for what in ("claimed", "began", "completed"):
        seen: dict[tuple[int, int], int] = {}
        for entry in history.of(what):
            if (entry.job, entry.fence) in seen:
                yield (
                    f"job {entry.job} with fence {entry.fence} was {what} twice, "
                    f"by {seen[entry.job, entry.fence]} and {entry.pid}"
                )
            seen[entry.job, entry.fence] = entry.pid


def _one_end(history: History, _: Judgement) -> Iterator[str]:
    """The database accepted one end of each job, and after it nothing."""
    fences = {row["id"]: row["lock_version"] for row in history.past}
    over: dict[int, int] = {}
    for entry in history.of("completed", "ended"):
        if entry.what == "ended" and not entry.text.startswith("finish"):
            continue
        if entry.job in over:
            yield f"job {entry.job} ended under fence {over[entry.job]} and again under {entry.fence}"
        over[entry.job] = entry.fence
        if fences.get(entry.job, entry.fence) != entry.fence:
            yield f"job {entry.job} ended under fence {entry.fence}; its history says {fences[entry.job]}"


def _fences_move(history: History, _: Judgement) -> Iterator[str]:
    """A claim and a release move the fence by one each: a run's own end has an odd one, anybody else's an even one."""
    for row in history.past:
        odd = row["status"] in {"completed", "failed", "discarded"}
        if (row["lock_version"] % 2 == 1) is not odd:
            yield f"job {row['id']} is {row['status']} under fence {row['lock_version']}: a fence did not move"
    for job, runs in history.runs.items():
        yield from (
            f"job {job} ran under fence {run.fence}, which no claim gives" for run in runs if run.fence % 2 == 0
        )


def _ran_before_it_ended(history: History, _: Judgement) -> Iterator[str]:
    """What is completed was run, under that fence, to its end."""
    for row in history.past:
        if row["status"] != "completed":
            continue
        runs = [run for run in history.runs.get(row["id"], ()) if run.fence == row["lock_version"]]
        if not runs:
            yield f"job {row['id']} is completed under fence {row['lock_version']}, and no such run began"


def _no_overlap(history: History, judgement: Judgement) -> Iterator[str]:
    """Never two handlers of one job at once, beyond what a pause makes unavoidable."""
    for seconds, text in overlaps(history, judgement):
        if seconds > judgement.overlap:
            yield text


def overlaps(history: History, judgement: Judgement) -> Iterator[tuple[float, str]]:
    """List how long handlers went on beside their successors, the time not counted for which they stood still."""
    kinds = {row["id"]: row["kind"] for row in (*history.live, *history.past)}
    for job, runs in history.runs.items():
        if kinds.get(job) in judgement.deaf:
            continue
        for old, new in pairwise(sorted(runs, key=lambda run: run.began)):
            seconds = _overlap(history, old, new)
            if seconds > 0:
                text = (
                    f"job {job} ({kinds.get(job)}): the run under fence {old.fence} in {old.pid} "
                    f"({old.how or 'killed'}) went on for {seconds:.3f} s beside that under {new.fence} in {new.pid}"
                )
                yield seconds, text


def _overlap(history: History, old: Run, new: Run) -> float:
    end = old.left if old.left is not None else float("inf")
    paused = sum(max(0.0, min(end, until) - max(new.began, since)) for since, until in history.pauses.get(old.pid, ()))
    return end - new.began - paused


def _attempts(history: History, _: Judgement) -> Iterator[str]:
    """An attempt is counted for a failure and for nothing else, and there are never more than allowed."""
    failed: Counter[int] = Counter()
    for job, runs in history.runs.items():
        failed[job] = sum(run.how not in {"", "returned", "Snooze", "LeaseLost"} for run in runs)
    for row in history.past:
        if row["attempts"] > row["max_attempts"]:
            yield f"job {row['id']} has {row['attempts']} attempts of {row['max_attempts']}"
        if row["attempts"] > failed[row["id"]]:
            yield f"job {row['id']} ({row['kind']}) has {row['attempts']} attempts and failed {failed[row['id']]} times"
        harmless = row["kind"] in {"note", "linger", "order", "ship", "ledger", "nap", "crunch", "poison"}
        if harmless and row["attempts"]:
            yield f"job {row['id']} ({row['kind']}) never fails and has {row['attempts']} attempts: {row['last_error']}"


def _ends_as_it_should(history: History, judgement: Judgement) -> Iterator[str]:
    """What can complete does; what kills its worker is put away, and nobody else before his last loss."""
    for row in history.past:
        kind, status = row["kind"], row["status"]
        wanted = {"quarantined"} if kind in judgement.poisoned else {"completed"}
        if status == "quarantined" and row["losses"] >= judgement.max_losses and not judgement.is_just:
            continue
        if status not in wanted:
            yield f"job {row['id']} ({kind}) is {status}: {row['last_error']}"


def _nothing_left(history: History, judgement: Judgement) -> Iterator[str]:
    """After the time to settle nothing runs, and nothing waits."""
    if judgement.is_settled:
        yield from (f"job {row['id']} ({row['kind']}) is left in {row['place']}" for row in history.live)


RULES: Final[tuple[Rule, ...]] = (
    _acked_jobs_exist,
    _one_place,
    _one_claimer,
    _one_end,
    _fences_move,
    _ran_before_it_ended,
    _no_overlap,
    *EFFECTS,
    _attempts,
    _ends_as_it_should,
    _nothing_left,
)
