"""Changes what becomes of jobs: runs them again, cancels them, frees them from dead workers, resolves their steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from supervisor.store.job_rows import CancelledJob, RetriedJob
    from supervisor.store.link import Link

BATCH: Final = 500
"""Jobs of one statement, so that none of them takes long."""

_PROBLEMS: Final[Mapping[str, str]] = {
    "unknown": "nobody knows it; its history may be gone",
    "live": "it is not over",
    "completed": "it completed; enqueue a new one to do it again",
    "key taken": "another live job has its key",
}


async def retry(link: Link, ids: Sequence[int]) -> list[RetriedJob]:
    """Make jobs run again; the answer is in their order."""
    from supervisor.store import jobs

    found: dict[int, RetriedJob] = {}
    for some in _batches(dict.fromkeys(ids)):
        found.update((one.id, one) for one in await jobs.retry(link, some))
    return [found[job] for job in dict.fromkeys(ids) if job in found]


async def retry_failed(link: Link, *, kind: str | None, since: datetime | None) -> list[RetriedJob]:
    """Make the jobs run again that failed until now, since a moment or as far as the history is kept."""
    from supervisor.store import job_listing

    found: dict[int, RetriedJob] = {}
    until = await job_listing.now(link)
    async for ids in job_listing.failed_ids(link, kind=kind, since=since, until=until):
        new = [job for job in dict.fromkeys(ids) if job not in found]
        found.update((one.id, one) for one in await retry(link, new))
    return list(found.values())


def show_retried(found: Sequence[RetriedJob], *, each: bool, as_json: bool) -> bool:
    """Say what was done, to each job or in all; return whether all of them run again."""
    retried = [one.id for one in found if one.problem is None]
    left = [one for one in found if one.problem is not None]
    if as_json:
        show_json({"retried": retried, "not_retried": [{"id": one.id, "problem": one.problem} for one in left]})
    elif each:
        for one in found:
            why = _PROBLEMS.get(one.problem or "", one.problem)
            typer.echo(f"job {one.id} runs again" if one.problem is None else f"job {one.id} stays as it is: {why}")
    else:
        typer.echo(f"{counted(len(retried), 'job')} {'runs' if len(retried) == 1 else 'run'} again")
        for problem, count in Counter(str(one.problem) for one in left).items():
            typer.echo(f"left alone: {count} ({problem})")
    return not left


async def cancel(link: Link, ids: Sequence[int], reason: str) -> dict[int, CancelledJob | None]:
    """Cancel jobs; None for one that is not live."""
    from supervisor.store import jobs

    found: dict[int, CancelledJob | None] = dict.fromkeys(ids)
    for some in _batches(list(found)):
        found.update((one.id, one) for one in await jobs.cancel(link, some, reason))
    return found


def show_cancelled(found: Mapping[int, CancelledJob | None], *, as_json: bool) -> bool:
    """Say what was done; return whether all were live."""
    if as_json:
        done = [{"id": one.id, "was_running": one.was_running} for one in found.values() if one is not None]
        show_json({"cancelled": done, "not_live": [job for job, one in found.items() if one is None]})
    else:
        for job, one in found.items():
            if one is None:
                typer.echo(f"job {job} is not live: there is nothing to cancel")
            else:
                typer.echo(f"job {job} is cancelled" + ("; its worker stops it now" if one.was_running else ""))
    return None not in found.values()


@dataclass(slots=True)
class Recovered:
    """What was done for one worker; `was_lost`: it was declared lost just now."""

    worker: int
    name: str = ""
    was_lost: bool = False
    past_deadline: bool = False
    released: list[int] = field(default_factory=list)
    quarantined: list[int] = field(default_factory=list)


async def recover(link: Link, max_losses: int) -> list[Recovered]:
    """Do what every worker does every few seconds: declare silent workers lost, and free what will not be finished."""
    from supervisor.store import job_lives, workers

    found = {worker: Recovered(worker, was_lost=True) for worker in await workers.find_lost(link)}
    for held in await workers.find_held(link):
        one = found.setdefault(held.worker, Recovered(held.worker))
        one.past_deadline = held.past_deadline
        while rows := await workers.release_lost(link, held.worker, BATCH, max_losses, held.past_deadline):
            one.released += [row.id for row in rows if not row.quarantined]
            one.quarantined += [row.id for row in rows if row.quarantined]
    for one in found.values():
        row = await job_lives.worker(link, one.worker)
        one.name = "forgotten" if row is None else f"{row.host} pid {row.pid}"
    return [found[worker] for worker in sorted(found)]


def show_recovered(found: Sequence[Recovered], *, as_json: bool) -> None:
    """Say what was done."""
    if as_json:
        show_json([_as_json(one) for one in found])
        return
    for one in found:
        why = "was silent beyond its lease and is lost" if one.was_lost else "will not finish what it holds"
        why = "lives, but has jobs past their deadline" if one.past_deadline else why
        typer.echo(f"worker {one.worker} ({one.name}) {why}: {counted(len(one.released), 'job')} released")
        if one.quarantined:
            typer.echo(f"  and {len(one.quarantined)} put away as quarantined, for it was their last loss")
    if not found:
        typer.echo("nothing to recover: every worker is within its lease, and no job past its deadline")


def _as_json(one: Recovered) -> Mapping[str, object]:
    return {
        "worker": one.worker,
        "declared_lost": one.was_lost,
        "past_deadline": one.past_deadline,
        "released": one.released,
        "quarantined": one.quarantined,
    }


def _batches(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while some := list(islice(rest, BATCH)):
        yield some
