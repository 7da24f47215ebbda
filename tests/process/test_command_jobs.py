"""The command `jobs` with a database: what it shows, and what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.command_line import CommandLine, command_line
from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_one,
    complete,
    enqueue,
    expire,
    finish,
    hand_back,
    pairs_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


async def one_of_each(line: CommandLine) -> dict[str, int]:
    """Make a job in each state; return the ids."""
    opened, worker = line.opened, await add_worker(line.opened)
    await enqueue(opened, 8)
    pairs = pairs_of(await claim(opened, worker, 8))
    for status, error in (
        ("completed", None),
        ("failed", "ValueError: no such user"),
        ("cancelled", "not wanted"),
        ("quarantined", "worker 1 was lost while it ran"),
        ("discarded", "old"),
    ):
        await finish(opened, [pairs.pop(0)], status, error)
    await hand_back(opened, [pairs.pop(0)], "retry", 60.0, "OSError: slow")
    await hand_back(opened, [pairs.pop(0)], "blocked", 0.0, "step charge is unresolved")
    await enqueue(opened, 1)
    return {status: job for job, status in (await line.statuses()).items()}


STATES = ("pending", "running", "retry", "blocked", "completed", "failed", "cancelled", "quarantined", "discarded")


async def test_every_state_is_listed(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job has a line, the latest news first, in 80 columns and without colours in a pipe."""
    monkeypatch.setenv("COLUMNS", "80")
    ids = await one_of_each(line)
    assert set(ids) == set(STATES)
    answer = await line("jobs", "list")
    lines = answer.out.splitlines()
    assert lines[0].split() == ["id", "status", "kind", "queue", "tries", "when", "note"]
    assert {words[1]: int(words[0]) for words in map(str.split, lines[1:])} == ids
    assert lines[1].split()[:2] == [str(ids["pending"]), "pending"]
    assert max(map(len, lines)) <= 80
    assert "\033" not in answer.out
    assert "ValueError" in answer.out


@pytest.mark.parametrize("status", STATES)
async def test_a_list_of_one_state(line: CommandLine, status: str) -> None:
    """Each state can be asked for, and for programs times are absolute."""
    ids = await one_of_each(line)
    (row,) = (await line("jobs", "list", "--status", status, "--json")).json
    assert (row["id"], row["status"]) == (ids[status], status)
    assert row["since"].endswith("Z")


async def test_a_list_can_be_narrowed(line: CommandLine) -> None:
    """Filters hold for live jobs and for those that are over, and the limit says that there may be more."""
    await one_of_each(line)
    await add_kind(line.opened, "other")
    await line("enqueue", "other", "--queue", "slow", "--tenant", "acme")
    for words in (("--kind", "other"), ("--queue", "slow"), ("--tenant", "acme"), ("--limit", "1")):
        answer = await line("jobs", "list", *words)
        assert len(answer.out.splitlines()) == (3 if "--limit" in words else 2)
        assert "slow" in answer.out
    assert (await line("jobs", "list", "--kind", "none")).out == "no jobs\n"
    assert (await line("jobs", "list", "--since", "1h", "--status", "failed,cancelled", "--json")).out.count(
        '"id"'
    ) == 2
    assert (await line("jobs", "list", "--since", "2999-01-01T00:00Z")).out == "no jobs\n"


async def test_everything_about_a_job(line: CommandLine) -> None:
    """Arguments, errors, steps, progress and earlier lives are shown, for people and for programs."""
    opened, worker = line.opened, await add_worker(line.opened)
    job = int((await line("enqueue", "noop", "--args", '{"user_id": 7}', "--tenant", "acme")).out)
    await finish(opened, [await claim_one(opened, worker)], "failed", "ValueError: no such user")
    await line("jobs", "retry", str(job))
    pair = await claim_one(opened, worker)
    await opened.execute(
        "SELECT supervisor.record_steps($1, $2, '{charge,mail}', '{0,1}', ARRAY['[1]'::jsonb, NULL], '{t,f}')",
        [job] * 2,
        [pair[1]] * 2,
    )
    await opened.execute("SELECT supervisor.report_progress($1, $2, '{40}', '{100}')", [job], [pair[1]])
    await hand_back(opened, [pair], "retry", 60.0, "OSError: slow")

    answer = await line("jobs", "show", str(job))
    assert answer.code == 0
    assert answer.out.startswith(f"job {job}  noop  retry\n")
    for said in (
        "acme",
        '"user_id": 7',
        "OSError: slow",
        "40 of 100",
        "charge  done",
        "mail    unknown",
        "1 of 3 failed",
    ):
        assert said in answer.out
    assert "ValueError: no such user" in answer.out.split("earlier ends")[1]
    found = (await line("jobs", "show", str(job), "--json")).json
    assert (found["id"], found["status"], found["args"]) == (job, "retry", {"user_id": 7})
    assert [step["result"] for step in found["steps"]] == [[1], None]
    assert [life["status"] for life in found["lives"]] == ["failed"]
    assert found["due_at"].endswith("Z")
    assert found["progress"]["done"] == 40


@pytest.mark.parametrize("status", STATES)
async def test_each_state_has_a_page(line: CommandLine, status: str) -> None:
    """A job can be looked at wherever it is in its life."""
    ids = await one_of_each(line)
    answer = await line("jobs", "show", str(ids[status]))
    assert answer.code == 0
    assert answer.out.splitlines()[0] == f"job {ids[status]}  noop  {status}"


async def test_a_job_that_nobody_knows(line: CommandLine) -> None:
    """A number that is no job's is an answer, not a crash."""
    answer = await line("jobs", "show", "4711")
    assert (answer.code, answer.err) == (1, "supervisor: there is no job 4711, neither live nor in the history\n")


async def test_jobs_run_again(line: CommandLine) -> None:
    """What is over can run again under its old number, except what completed; the exit code tells."""
    ids = await one_of_each(line)
    again = [ids[status] for status in ("failed", "cancelled", "quarantined", "discarded", "retry")]
    answer = await line("jobs", "retry", *map(str, again))
    assert (answer.code, answer.out.count("runs again")) == (0, 5)
    answer = await line("jobs", "retry", str(ids["failed"]), str(ids["completed"]), "4711")
    assert answer.code == 1
    assert answer.out.splitlines() == [
        f"job {ids['failed']} stays as it is: it is not over",
        f"job {ids['completed']} stays as it is: it completed; enqueue a new one to do it again",
        "job 4711 stays as it is: nobody knows it; its history may be gone",
    ]
    assert (await line("jobs", "retry", "4711", "--json")).json["not_retried"] == [{"id": 4711, "problem": "unknown"}]
    statuses = await line.statuses()
    assert statuses[ids["retry"]] == "retry"
    live = await line.value("SELECT count(*) FROM supervisor.jobs WHERE id = ANY ($1)", again)
    assert live == 5


async def test_all_failed_jobs_run_again(line: CommandLine) -> None:
    """`--failed` takes every failed job of a kind and a time, and says in numbers what became of them."""
    opened, worker = line.opened, await add_worker(line.opened)
    await add_kind(opened, "other")
    await enqueue(opened, 3)
    await enqueue(opened, 1, kind="other")
    failed = pairs_of(await claim(opened, worker, 4, kinds=("noop", "other")))
    await finish(opened, failed, "failed", "ValueError")
    await opened.execute(
        "UPDATE supervisor.job_history SET finished_at = finished_at - interval '1 h' WHERE job_id = 1"
    )
    assert (await line("jobs", "retry", "--failed", "--since", "30m", "--kind", "noop")).out == "2 jobs run again\n"
    answer = await line("jobs", "retry", "--failed")
    assert (answer.code, answer.out) == (0, "2 jobs run again\nleft alone: 2 (live)\n")
    assert set(await line.value("SELECT array_agg(id) FROM supervisor.jobs")) == {1, 2, 3, 4}


async def test_jobs_are_cancelled(line: CommandLine) -> None:
    """What is live is cancelled with the reason; what runs is stopped, and what is over stays so."""
    ids = await one_of_each(line)
    live = [str(ids[status]) for status in ("pending", "running", "retry", "blocked")]
    answer = await line("jobs", "cancel", *live, "--reason", "a mistake")
    assert answer.code == 0
    assert f"job {ids['running']} is cancelled; its worker stops it now" in answer.out
    answer = await line("jobs", "cancel", str(ids["completed"]), "--json")
    assert (answer.code, answer.json) == (1, {"cancelled": [], "not_live": [ids["completed"]]})
    assert "note" not in (await line("jobs", "list", "--status", "pending,running,retry,blocked")).out
    errors = "SELECT count(*) FROM supervisor.job_history WHERE status = 'cancelled' AND last_error = 'a mistake'"
    assert await line.value(errors) == 4


async def test_expired_locks_are_recovered(line: CommandLine) -> None:
    """Jobs of a silent worker are free again, jobs of a living one past their deadline too, and it is said."""
    assert (await line("jobs", "recover-expired-locks")).out.startswith("nothing to recover")
    opened, silent, slow = line.opened, await add_worker(line.opened), await add_worker(line.opened)
    await enqueue(opened, 5)
    await claim(opened, silent, 3)
    await claim(opened, slow, 2)
    await opened.execute("UPDATE supervisor.jobs SET losses = 2 WHERE id = 1")
    await opened.execute("UPDATE supervisor.jobs SET deadline_at = deadline_at - interval '1 d' WHERE id = 5")
    await expire(opened, silent)
    answer = await line("jobs", "recover-expired-locks")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"worker {silent} (host pid 1) was silent beyond its lease and is lost: 2 jobs released",
        "  and 1 put away as quarantined, for it was their last loss",
        f"worker {slow} (host pid 1) lives, but has jobs past their deadline: 1 job released",
    ]
    assert await line.statuses() == {1: "quarantined", 2: "pending", 3: "pending", 4: "running", 5: "pending"}
    assert (await line("jobs", "recover-expired-locks", "--json")).json == []


@pytest.mark.parametrize(("words", "done"), [(("--done", '{"id": 9}'), True), (("--again",), False)])
async def test_a_step_is_resolved(line: CommandLine, words: tuple[str, ...], done: bool) -> None:
    """A person says what became of a step, and its job goes on with that."""
    opened, worker = line.opened, await add_worker(line.opened)
    await enqueue(opened, 1)
    pair = await claim_one(opened, worker)
    await opened.execute(
        "SELECT supervisor.record_steps($1, $2, '{charge}', '{0}', '{NULL}', '{f}')", *[[n] for n in pair]
    )
    await hand_back(opened, [pair], "blocked", 0.0, "step charge is unresolved")
    wrong = await line("jobs", "resolve", "1", "chrge", *words)
    assert (wrong.code, wrong.err) == (
        1,
        "supervisor: job 1 has no step 'chrge' that waits for an answer; these do: charge\n",
    )
    answer = await line("jobs", "resolve", "1", "charge", *words)
    assert answer.code == 0
    assert answer.out == f"job 1 goes on: step charge {'counts as done' if done else 'runs again'}\n"
    assert await line.statuses() == {1: "pending"}
    steps = await opened.fetch("SELECT done, result FROM supervisor.job_steps")
    assert [tuple(step) for step in steps] == ([(True, '{"id": 9}')] if done else [])
    assert (await line("jobs", "resolve", "1", "charge", *words, "--json")).code == 1


async def test_a_completed_job_shows_its_end(line: CommandLine) -> None:
    """A job that went well has no error to show."""
    opened, worker = line.opened, await add_worker(line.opened)
    await enqueue(opened, 1)
    await complete(opened, [await claim_one(opened, worker)])
    page = (await line("jobs", "show", "1")).out
    assert "finished" in page
    assert "error" not in page


async def test_why_a_job_waits(line: CommandLine) -> None:
    """Each reason has a line with whose it is, for programs as JSON, and an unknown job is exit code 1."""
    (job,) = await enqueue(line.opened, 1)
    answer = await line("jobs", "why", str(job))
    assert answer.code == 0
    assert "no live worker serves this queue" in answer.out
    assert (await line("jobs", "why", str(job), "--json")).json["reasons"][0]["what"] == "no_worker"
    assert (await line("jobs", "why", "999999")).code == 1
