"""Another run: jobs that ended, jobs that wait, and jobs with a step that nobody knows the end of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_worker,
    cancel,
    claim,
    claim_one,
    claim_suspects,
    complete,
    connected,
    count,
    enqueue,
    finish,
    hand_back,
    lose,
    record,
    release,
    retry,
    schema,
    session,
    steps,
    together,
    waits_for_lock,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

KEYED = "SELECT supervisor.enqueue('noop', unique_key => $1)"
RESOLVE = "SELECT supervisor.resolve_step($1, $2, $3, $4)"


@pytest.mark.parametrize("status", ["failed", "cancelled", "quarantined", "discarded"])
async def test_a_job_that_ended_comes_back_as_new(status: str) -> None:
    """It has its id, its arguments and its steps, no attempts or losses, and a fence above every one it ever had."""
    async with connected() as opened:
        worker = await add_worker(opened)
        job = await opened.fetchval(
            """SELECT supervisor.enqueue('noop', '{"a": 1}', tenant => 'acme', priority => 3)"""
        )
        await hand_back(opened, [await claim_one(opened, worker)], "retry", 0.0, "first")
        await opened.execute("UPDATE supervisor.jobs SET losses = 2, run_at = now() - interval '1 day'")
        pair = (await claim_suspects(opened, worker))[0]["id"], 3
        await record(opened, [pair])
        await finish(opened, [pair], status, "second")
        assert await retry(opened, [job]) == {job: None}
        row = await opened.fetchrow("SELECT * FROM supervisor.jobs")
        assert row is not None
        assert (row["id"], row["args"], row["tenant"], row["priority"]) == (job, '{"a": 1}', "acme", 3)
        assert (row["attempts"], row["losses"], row["lock_version"], row["last_error"]) == (0, 0, 4, "second")
        assert await opened.fetchval("SELECT now() - run_at < '1 minute' AND run_at > created_at FROM supervisor.jobs")
        assert await complete(opened, [pair]) == set()
        assert [step[0] for step in await steps(opened, job)] == ["s"]
        assert await complete(opened, [await claim_one(opened, worker)]) == {job}
        assert await count(opened, "job_history") == 2


async def test_what_cannot_run_again_says_why() -> None:
    """A live, a completed and an unknown job stay as they are, and the answer has the reason for each id, once."""
    async with connected() as opened:
        worker = await add_worker(opened)
        done, failed, running, ready = await enqueue(opened, 4)
        await complete(opened, [await claim_one(opened, worker)])
        await finish(opened, [await claim_one(opened, worker)], "failed")
        await claim_one(opened, worker)
        ids = [ready, running, failed, done, failed, 10**12]
        expected = {done: "completed", failed: None, running: "live", ready: "live", 10**12: "unknown"}
        assert await retry(opened, ids) == expected
        assert await retry(opened, ids) == expected | {failed: "live"}
        assert await retry(opened, []) == {}
        assert await opened.fetch("SELECT * FROM supervisor.retry_jobs(NULL)") == []
        assert await opened.fetch("SELECT * FROM supervisor.retry_jobs('{NULL}')") == []


async def test_a_job_that_was_completed_in_the_end_stays_so() -> None:
    """The newest of a job's ends decides, however many it had."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        for _ in range(3):
            await finish(opened, [await claim_one(opened, worker)], "failed")
            assert await retry(opened, [job]) == {job: None}
        await cancel(opened, [job])
        assert await retry(opened, [job]) == {job: None}
        await complete(opened, [await claim_one(opened, worker)])
        assert await retry(opened, [job]) == {job: "completed"}
        versions = [row[0] for row in await opened.fetch("SELECT lock_version FROM supervisor.job_history ORDER BY 1")]
        assert len(versions) == len(set(versions)) == 5


async def test_a_key_that_is_taken_keeps_a_job_away() -> None:
    """A job whose unique key another live job has cannot come back; of two that ended, one can."""
    async with connected() as opened:
        worker = await add_worker(opened)
        first = await opened.fetchval(KEYED, "k")
        await finish(opened, [await claim_one(opened, worker)], "failed")
        second = await opened.fetchval(KEYED, "k")
        assert await retry(opened, [first]) == {first: "key taken"}
        await finish(opened, [await claim_one(opened, worker)], "failed")
        assert await retry(opened, [second, first]) == {first: None, second: "key taken"}
        rows = await opened.fetch("SELECT unique_key, job_id FROM supervisor.job_keys")
        assert [tuple(row) for row in rows] == [("k", first)]
        assert await opened.fetchval(KEYED, "k") == first


async def test_two_retries_at_once_are_one() -> None:
    """Of callers that retry the same jobs at once, one brings each back, and a finished one does not return."""
    back: list[int] = []
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        ids = await enqueue(opened, 50)
        for _ in ids:
            await finish(opened, [await claim_one(opened, worker)], "failed")

        async def work(other: Connection) -> None:
            for _ in range(3):
                back.extend(job for job, problem in (await retry(other, ids)).items() if problem is None)
                rows = await claim(other, worker, 20)
                await complete(other, [(row["id"], row["lock_version"]) for row in rows])

        await together(dsn, 4, work)
        assert sorted(back) == ids
        assert await count(opened, "jobs") + await count(opened, "job_history") == 100


async def test_a_retry_that_waited_sees_what_the_other_did() -> None:
    """A retry that waits for another one finds the job as that left it, even if it has ended since."""
    async with schema() as dsn, session(dsn) as one, session(dsn) as two, session(dsn) as watcher:
        worker = await add_worker(one)
        (job,) = await enqueue(one, 1)
        await finish(one, [await claim_one(one, worker)], "failed")
        change = one.transaction()
        await change.start()
        assert await retry(one, [job]) == {job: None}
        await complete(one, [await claim_one(one, worker)])
        async with asyncio.TaskGroup() as group:
            second = group.create_task(retry(two, [job]))
            await waits_for_lock(watcher, two)
            await change.commit()
        assert second.result() == {job: "completed"}


async def test_a_retry_needs_a_snapshot_for_each_statement() -> None:
    """Where the history would be read as it was before the lock, nothing is retried."""
    async with connected() as opened, opened.transaction(isolation="repeatable_read"):
        with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
            await retry(opened, [1])


@pytest.mark.parametrize("reason", ["future", "retry", "snoozed", "blocked"])
async def test_a_job_that_waits_runs_at_once(reason: str) -> None:
    """A job that waits for its time, or is blocked, can be claimed after a retry, with what it has cost so far."""
    async with connected() as opened:
        worker = await add_worker(opened)
        if reason == "future":
            job = await opened.fetchval("SELECT supervisor.enqueue('noop', run_at => now() + interval '1 h')")
        else:
            (job,) = await enqueue(opened, 1)
            await hand_back(opened, [await claim_one(opened, worker)], reason, 60.0)
        assert await opened.fetchval("SELECT reason FROM supervisor.jobs_waiting") == reason
        assert await retry(opened, [job]) == {job: None}
        (row,) = await claim(opened, worker)
        assert (row["id"], row["attempts"]) == (job, int(reason == "retry"))
        assert await opened.fetchval("SELECT run_at <= now() FROM supervisor.jobs")


async def test_a_job_that_is_held_back_stays_held_back() -> None:
    """A job that is paused or limited is not started by a retry: what holds it back decides."""
    async with connected() as opened:
        job = await opened.fetchval("SELECT supervisor.enqueue('noop', run_at => now() + interval '1 h')")
        for reason in ("paused", "limited"):
            await opened.execute(
                "UPDATE supervisor.jobs_waiting SET reason = $1, line = 'x', due_at = 'infinity'", reason
            )
            assert await retry(opened, [job]) == {job: "live"}


async def test_retries_wake_sleepers() -> None:
    """A worker that sleeps on the queue hears of the jobs that came back."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await finish(opened, [await claim_one(opened, worker)], "failed")
        await opened.add_listener("supervisor", lambda *given: heard.put_nowait(str(given[3])))
        await opened.execute("SELECT supervisor.sleep_on($1, '{default}')", worker)
        for _ in range(2):
            await retry(opened, [job])
            async with asyncio.timeout(10):
                assert await heard.get() == "default"
            await hand_back(opened, [await claim_one(opened, worker)], "snoozed", 60.0)


@pytest.mark.parametrize("again", [False, True])
async def test_a_step_that_nobody_knew_is_resolved(again: bool) -> None:
    """The job waits until somebody says what became of its step, then runs with the result or without the intent."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        await record(opened, [pair], "before", place=0)
        await record(opened, [pair], "pay", place=1, done=False)
        assert await opened.fetchval(RESOLVE, job, "pay", "7", again) is False
        assert await hand_back(opened, [pair], "blocked", 5.0, "unknown") == {job}
        row = await opened.fetchrow("SELECT * FROM supervisor.jobs_waiting")
        assert row is not None
        assert (row["reason"], row["attempts"], row["interruptions"], row["last_error"]) == ("blocked", 0, 0, "unknown")
        assert await opened.fetchval("SELECT due_at = 'infinity' FROM supervisor.jobs_waiting")
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 0
        assert await opened.fetchval("SELECT status FROM supervisor.job_queue") == "blocked"
        assert await opened.fetchval(RESOLVE, job, "other", "7", again) is False
        assert await opened.fetchval(RESOLVE, job, "before", "7", again) is False
        assert await opened.fetchval(RESOLVE, job, "pay", "7", again) is True
        assert await opened.fetchval(RESOLVE, job, "pay", "7", again) is False
        assert [step[0::3] for step in await steps(opened, job)][1:] == ([] if again else [("pay", "7")])
        (claimed,) = await claim(opened, worker)
        assert (claimed["id"], claimed["attempts"], claimed["lock_version"]) == (job, 0, 3)


async def test_a_job_waits_for_all_its_unknown_steps() -> None:
    """A job with two steps that nobody knows the end of runs again when both are resolved."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        for place, name in enumerate(["a", "b"]):
            await record(opened, [pair], name, place=place, done=False)
        await hand_back(opened, [pair], "blocked")
        for name, again, claimable in [("a", False, 0), ("b", True, 1)]:
            assert await opened.fetchval(RESOLVE, job, name, None, again) is True
            assert len(await claim(opened, worker)) == claimable
        assert await steps(opened, job) == [("a", 0, True, None)]


async def test_what_a_lost_worker_left_blocked_stays_blocked() -> None:
    """A blocked job belongs to no worker, so that the death of the one that ran it changes nothing."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await hand_back(opened, [await claim_one(opened, worker)], "blocked")
        await lose(opened, worker)
        assert await release(opened, worker) == {}
        assert await opened.fetchval("SELECT id FROM supervisor.jobs_waiting") == job
