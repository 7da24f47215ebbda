"""Cancelling: wherever a job lives it ends once, its key is free, and what still runs is told."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from tests.store.sql_session import (
    add_worker,
    cancel,
    claim,
    claim_one,
    complete,
    connected,
    count,
    enqueue,
    finish,
    hand_back,
    pairs_of,
    record,
    schema,
    session,
    together,
    waits_for_lock,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

LATER = "SELECT supervisor.enqueue('noop', '{}', run_at => now() + interval '1 h')"


async def test_a_job_is_cancelled_wherever_it_lives() -> None:
    """A running, a ready and a waiting job become history as cancelled, with the reason and a fence that moved on."""
    async with connected() as opened:
        worker = await add_worker(opened)
        running, ready = await enqueue(opened, 2)
        pair = await claim_one(opened, worker)
        later = await opened.fetchval(LATER)
        ids = [later, running, ready, running, 10**12]
        assert await cancel(opened, ids, "not wanted") == {running: True, ready: False, later: False}
        rows = await opened.fetch("SELECT * FROM supervisor.job_history ORDER BY job_id")
        assert [(row["job_id"], row["status"], row["last_error"], row["lock_version"]) for row in rows] == [
            (running, "cancelled", "not wanted", 2),
            (ready, "cancelled", "not wanted", 1),
            (later, "cancelled", "not wanted", 1),
        ]
        assert [row["claimed_by"] for row in rows] == [worker, None, None]
        assert await complete(opened, [pair]) == set()
        assert await hand_back(opened, [pair], "retry") == set()
        assert await record(opened, [pair]) == set()
        assert await cancel(opened, ids) == {}


async def test_a_cancelled_job_gives_its_key_back() -> None:
    """The unique key of a cancelled job is free, and those of other jobs are not."""
    async with connected() as opened:
        call = "SELECT supervisor.enqueue('noop', unique_key => $1, run_at => $2::timestamptz)"
        first = await opened.fetchval(call, "a", None)
        second = await opened.fetchval(call, "b", None)
        third = await opened.fetchval(call, "c", await opened.fetchval("SELECT now() + interval '1 h'"))
        assert len(await cancel(opened, [first, third], None)) == 2
        rows = await opened.fetch("SELECT unique_key, job_id FROM supervisor.job_keys")
        assert [tuple(row) for row in rows] == [("b", second)]
        assert await opened.fetchval(call, "a", None) not in {first, second}


async def test_nothing_to_cancel_is_no_error() -> None:
    """No ids, null ids and ids of jobs that ended cancel nothing."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await complete(opened, [await claim_one(opened, worker)])
        assert await cancel(opened, [job]) == {}
        assert await cancel(opened, []) == {}
        assert await opened.fetch("SELECT * FROM supervisor.cancel_jobs(NULL, NULL)") == []
        assert await opened.fetch("SELECT * FROM supervisor.cancel_jobs('{NULL}', NULL)") == []


async def test_who_runs_a_cancelled_job_is_told() -> None:
    """The channel of cancels names the jobs that were running, once the cancel has committed, and no others."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.add_listener("supervisor_cancel", lambda *given: heard.put_nowait(str(given[3])))
        await enqueue(opened, 3)
        pairs = pairs_of(await claim(opened, worker, 2))
        async with opened.transaction():
            assert len(await cancel(opened, [1, 2, 3])) == 3
            assert heard.empty()
        async with asyncio.timeout(10):
            told = {int(await heard.get()) for _ in pairs}
        assert told == {job for job, _ in pairs}
        await opened.fetchval("SELECT 1")
        assert heard.empty()


@pytest.mark.parametrize("committed", [True, False])
async def test_a_cancel_that_meets_a_completion_obeys_it(committed: bool) -> None:
    """A cancel waits for a completion that is under way; the job ends as one of both, never as both."""
    async with schema() as dsn, session(dsn) as ender, session(dsn) as operator, session(dsn) as watcher:
        worker = await add_worker(ender)
        (job,) = await enqueue(ender, 1)
        pair = await claim_one(ender, worker)
        change = ender.transaction()
        await change.start()
        assert await complete(ender, [pair]) == {job}
        async with asyncio.TaskGroup() as group:
            cancelled = group.create_task(cancel(operator, [job]))
            await waits_for_lock(watcher, operator)
            await (change.commit() if committed else change.rollback())
        assert cancelled.result() == ({} if committed else {job: True})
        assert await count(watcher, "job_history") == 1
        assert await count(watcher, "jobs") == 0


@pytest.mark.parametrize("move", ["promote", "park"])
async def test_a_job_that_moves_is_cancelled_too(move: str) -> None:
    """A job that changes tables while a cancel looks for it is found in the other one."""
    async with schema() as dsn, session(dsn) as mover, session(dsn) as operator, session(dsn) as watcher:
        worker = await add_worker(mover)
        if move == "park":
            (job,) = await enqueue(mover, 1)
            pair = await claim_one(mover, worker)
        else:
            job = await mover.fetchval(LATER)
            await mover.execute("UPDATE supervisor.jobs_waiting SET due_at = now()")
        change = mover.transaction()
        await change.start()
        if move == "park":
            assert await hand_back(mover, [pair], "retry", 60.0) == {job}
        else:
            assert await mover.fetchval("SELECT supervisor.promote(10)") == 1
        async with asyncio.TaskGroup() as group:
            cancelled = group.create_task(cancel(operator, [job]))
            await waits_for_lock(watcher, operator)
            await change.commit()
        assert cancelled.result() == {job: False}
        assert await count(watcher, "jobs") + await count(watcher, "jobs_waiting") == 0
        assert await count(watcher, "job_history") == 1


async def test_cancels_do_not_wait_for_others_for_ever() -> None:
    """Cancels, completions, promotions and enqueues of the same jobs never deadlock, and each job ends once."""
    order = random.Random(0)  # noqa: S311 - a repeatable shuffle
    keys = [str(number) for number in range(200)]
    call = "SELECT id FROM supervisor.enqueue_many($1, $2, unique_keys => $3)"
    ended: list[int] = []
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        await opened.fetch(call, ["noop"] * 200, ["{}"] * 200, keys)

        async def work(other: Connection) -> None:
            for _ in range(6):
                pairs = pairs_of(await claim(other, worker, 30))
                await other.fetch(call, ["noop"] * 50, ["{}"] * 50, order.sample(keys, 50))
                ended.extend(await cancel(other, order.sample(range(1, 250), 30)))
                ended.extend(await finish(other, pairs[:10], "failed"))
                await hand_back(other, pairs[10:20], "snoozed", 1e-6)
                ended.extend(await complete(other, pairs[20:]))
                await other.fetchval("SELECT supervisor.promote(20)")

        await together(dsn, 5, work)
        assert len(ended) == len(set(ended)) == await count(opened, "job_history")
        live = await count(opened, "jobs") + await count(opened, "jobs_waiting")
        assert live == await count(opened, "job_keys")
