"""The ends of a claim: each is accepted once, from the holder of the fence, and from nobody else."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_one,
    complete,
    connected,
    count,
    enqueue,
    finish,
    hand_back,
    pairs_of,
    schema,
    session,
    together,
    waits_for_lock,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection


async def test_a_stale_fence_changes_nothing() -> None:
    """A thousand writes with old fences, of every sort, change no row, and the live fence still works."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 300)
        old = pairs_of(await claim(opened, worker, 300))
        assert len(await hand_back(opened, old, "interrupted")) == 300
        live = pairs_of(await claim(opened, worker, 300))
        before = await opened.fetch("SELECT * FROM supervisor.jobs ORDER BY id")
        refused = 0
        for offset in (0, 1, 3, -5):
            stale = [(job, version + offset) for job, version in old]
            assert await complete(opened, stale) == set()
            assert await finish(opened, stale, "failed", "late") == set()
            assert await hand_back(opened, stale, "retry", 0.0, "late") == set()
            assert await hand_back(opened, stale, "retry", 60.0, "late") == set()
            refused += 4 * len(stale)
        assert refused >= 1000
        assert await opened.fetch("SELECT * FROM supervisor.jobs ORDER BY id") == before
        assert await count(opened, "job_history") == 0
        assert await complete(opened, live) == {job for job, _ in live}
        assert await complete(opened, live) == set()


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "quarantined", "discarded"])
async def test_a_finished_job_is_history_with_all_it_was(status: str) -> None:
    """A job ends with its status, error and attempts in the history, and nowhere else."""
    async with connected() as opened:
        worker = await add_worker(opened)
        job = await opened.fetchval("""SELECT supervisor.enqueue('noop', '{"a": 1}', tenant => 'acme')""")
        pair = await claim_one(opened, worker)
        assert await finish(opened, [pair], status, "why") == {job}
        row = await opened.fetchrow("SELECT * FROM supervisor.job_history WHERE job_id = $1", job)
        assert row is not None
        assert (row["status"], row["last_error"], row["attempts"]) == (status, "why", int(status == "failed"))
        assert (row["tenant"], row["args"], row["claimed_by"], row["lock_version"]) == ("acme", '{"a": 1}', worker, 1)
        assert await count(opened, "jobs") == 0


async def test_a_status_that_is_no_end_is_refused() -> None:
    """A status that no job ends with, or none, is an error, and the job goes on."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        for status in ("running", "", None):
            with pytest.raises(asyncpg.InvalidParameterValueError, match="is no end of a job"):
                await finish(opened, [pair], status)
        with pytest.raises(asyncpg.InvalidParameterValueError, match="is no end of a job"):
            await opened.fetch("SELECT supervisor.finish($1, $2, '{}', NULL, NULL)", [pair[0]], [pair[1]])
        assert await opened.fetch("SELECT supervisor.finish(NULL, NULL, NULL, NULL, NULL)") == []
        assert await complete(opened, [pair]) == {pair[0]}


async def test_a_job_that_is_twice_in_a_batch_ends_once() -> None:
    """The same pair twice in one batch, even with two statuses, is one end."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        one, two = pairs_of(await claim(opened, worker))
        assert await complete(opened, [one, one, (one[0], 7)]) == {one[0]}
        call = "SELECT supervisor.finish($1, $2, $3, $4, $4)"
        rows = await opened.fetch(call, [two[0]] * 2, [two[1]] * 2, ["failed", "discarded"], [None] * 2)
        assert [row[0] for row in rows] == [two[0]]
        assert await count(opened, "job_history") == 2


@pytest.mark.parametrize("end", ["completed", "failed"])
@pytest.mark.parametrize(("change", "fenced"), [("hand_back", True), ("extend_deadline", False)])
async def test_an_end_obeys_what_it_waited_for(end: str, change: str, fenced: bool) -> None:
    """An end that waits for another write to its job looks at the fence again, as that write left it."""
    async with schema() as dsn, session(dsn) as ender, session(dsn) as other, session(dsn) as watcher:
        worker = await add_worker(ender)
        (job,) = await enqueue(ender, 1)
        pair = await claim_one(ender, worker)
        under_way = other.transaction()
        await under_way.start()
        if change == "hand_back":
            assert await hand_back(other, [pair], "interrupted") == {job}
        else:
            assert await other.fetchval("SELECT supervisor.extend_deadline($1, $2, 60) IS NOT NULL", *pair)
        async with asyncio.TaskGroup() as group:
            work = complete(ender, [pair]) if end == "completed" else finish(ender, [pair], end)
            ended = group.create_task(work)
            await waits_for_lock(watcher, ender)
            await under_way.commit()
        assert ended.result() == (set() if fenced else {job})
        assert await count(watcher, "jobs") == int(fenced)


async def test_finishes_of_the_same_jobs_do_not_wait_for_each_other_for_ever() -> None:
    """Batches with the same jobs and keys in different orders never deadlock, and each job ends once."""
    ended: list[int] = []
    order = random.Random(0)  # noqa: S311 - a repeatable shuffle
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        keys = [str(number) for number in range(400)]
        await opened.fetch(
            "SELECT supervisor.enqueue_many($1, $2, unique_keys => $3)", ["noop"] * 400, ["{}"] * 400, keys
        )
        pairs = pairs_of(await claim(opened, worker, 400))

        async def work(other: Connection) -> None:
            for _ in range(5):
                mine, touched = order.sample(pairs, 100), order.sample(keys, 100)
                await other.fetch(
                    "SELECT supervisor.enqueue_many($1, $2, unique_keys => $3)", ["noop"] * 100, ["{}"] * 100, touched
                )
                ended.extend(await hand_back(other, mine[:10], "interrupted", 0.0))
                ended.extend(await complete(other, mine[10:55]))
                ended.extend(await finish(other, mine[55:], "cancelled"))

        await together(dsn, 6, work)
        assert len(ended) == len(set(ended))


async def test_keys_are_locked_in_one_order() -> None:
    """Callers that ask for many keys while their jobs end never deadlock with the finish."""
    order = random.Random(0)  # noqa: S311 - a repeatable shuffle
    keys = [str(number) for number in range(300)]
    call = "SELECT supervisor.enqueue_many($1, $2, unique_keys => $3)"
    async with schema() as dsn, session(dsn) as ender, session(dsn) as caller:
        worker = await add_worker(ender)
        for _ in range(20):
            await ender.fetch(call, ["noop"] * 300, ["{}"] * 300, order.sample(keys, 300))
            pairs = pairs_of(await claim(ender, worker, 300))
            async with asyncio.TaskGroup() as group:
                group.create_task(caller.fetch(call, ["noop"] * 300, ["{}"] * 300, order.sample(keys, 300)))
                group.create_task(complete(ender, pairs))
            assert await count(ender, "jobs") == await count(ender, "job_keys")


async def test_a_retry_costs_an_attempt_and_the_last_one_fails() -> None:
    """Each retry counts, and the one that reaches max_attempts ends the job as failed with its error and its key."""
    async with connected() as opened:
        worker = await add_worker(opened)
        job = await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', unique_key => 'k', max_attempts => 3)")
        for attempt in range(3):
            (row,) = await claim(opened, worker)
            assert (row["attempts"], row["max_attempts"]) == (attempt, 3)
            assert await hand_back(opened, [(job, row["lock_version"])], "retry", 0.0, f"error {attempt}") == {job}
        ended = await opened.fetchrow("SELECT status, attempts, last_error FROM supervisor.job_history")
        assert ended is not None
        assert tuple(ended) == ("failed", 3, "error 2")
        assert (await count(opened, "jobs"), await count(opened, "job_keys")) == (0, 0)


async def test_one_exhausted_job_does_not_hold_up_its_batch() -> None:
    """In one batch some jobs fail for good, some run again at once and some later, and all are answered for."""
    async with connected() as opened:
        await add_kind(opened, "once", attempts=1)
        worker = await add_worker(opened)
        (last,) = await enqueue(opened, 1, kind="once")
        soon, later = await enqueue(opened, 2)
        rows = {row["id"]: row["lock_version"] for row in await claim(opened, worker, kinds=["noop", "once"])}
        ids = [later, last, soon]
        given = await opened.fetch(
            "SELECT supervisor.hand_back($1, $2, $3, $4, $5, $5)",
            ids,
            [rows[job] for job in ids],
            ["retry"] * 3,
            [60.0, 60.0, 0.0],
            [None] * 3,
        )
        assert {row[0] for row in given} == set(ids)
        assert [row["job_id"] for row in await opened.fetch("SELECT job_id FROM supervisor.job_history")] == [last]
        assert await opened.fetchval("SELECT id FROM supervisor.jobs_waiting") == later
        assert await opened.fetchval("SELECT id FROM supervisor.jobs") == soon


@pytest.mark.parametrize(
    ("reason", "attempts", "interruptions"), [("retry", 1, 0), ("snoozed", 0, 0), ("interrupted", 0, 1)]
)
@pytest.mark.parametrize("delay", [None, 0.0, 60.0])
async def test_what_a_hand_back_costs(reason: str, attempts: int, interruptions: int, delay: float | None) -> None:
    """Only a retry costs an attempt, only an interruption counts as one, and the fence moves on."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        assert await hand_back(opened, [pair], reason, delay) == {job}
        table = "jobs_waiting" if delay else "jobs"
        row = await opened.fetchrow(f"SELECT * FROM supervisor.{table}")  # noqa: S608 - a name of ours
        assert row is not None
        assert (row["attempts"], row["interruptions"], row["lock_version"]) == (attempts, interruptions, 2)
        assert row["claimed_by"] is None


@pytest.mark.parametrize("delay", [math.inf, math.nan, 1e300])
async def test_no_delay_is_too_long_to_be_written(delay: float) -> None:
    """A delay that no timestamp can hold becomes ten years."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        assert await hand_back(opened, [await claim_one(opened, worker)], "snoozed", delay) == {job}
        assert await opened.fetchval("SELECT due_at < now() + interval '11 years' FROM supervisor.jobs_waiting")


async def test_counters_stop_at_their_end() -> None:
    """The 32,768th interruption is accepted like those before."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await opened.execute("UPDATE supervisor.jobs SET interruptions = 32767")
        assert await hand_back(opened, [await claim_one(opened, worker)], "interrupted") == {job}
        assert await hand_back(opened, [await claim_one(opened, worker)], "interrupted", 60.0) == {job}


async def test_a_wrong_reason_is_refused() -> None:
    """A reason that is none of the three is an error that names it."""
    async with connected() as opened:
        with pytest.raises(asyncpg.PostgresError, match="bored is no reason"):
            await hand_back(opened, [(1, 1)], "bored")


async def test_nulls_and_short_arrays_end_nothing() -> None:
    """A pair with a null in it fits no job."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        first, second = pairs_of(await claim(opened, worker))
        query = "SELECT supervisor.complete($1, $2)"
        assert await opened.fetch(query, None, None) == []
        assert await opened.fetch(query, [first[0], second[0]], [None]) == []
        assert [row[0] for row in await opened.fetch(query, [first[0], second[0]], [first[1]])] == [first[0]]
