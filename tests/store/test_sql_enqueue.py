"""Putting jobs in: in order, once for each unique key, now or later, and never with what a claim cannot read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.store.postgres import LIMIT
from tests.store.sql_session import (
    add_worker,
    claim,
    claim_one,
    complete,
    connected,
    count,
    enqueue,
    finish,
    hand_back,
    release,
    schema,
    session,
)


async def test_a_batch_runs_in_its_order() -> None:
    """The ids of a batch grow in the order in which its jobs were given, and so they are claimed."""
    async with connected() as opened:
        worker = await add_worker(opened)
        ids = await enqueue(opened, 200)
        assert ids == sorted(ids)
        assert [(await claim(opened, worker, 1))[0]["id"] for _ in range(20)] == ids[:20]


async def test_a_unique_key_stands_for_one_live_job() -> None:
    """While a job with a key lives, in whatever table, the same key gives its id; after it ended, a new job."""
    async with connected() as opened:
        worker = await add_worker(opened)
        again = "SELECT supervisor.enqueue('noop', '{}', unique_key => 'k')"
        first = await opened.fetchval(again)
        assert await opened.fetchval(again) == first
        pair = await claim_one(opened, worker)
        assert await opened.fetchval(again) == first
        await hand_back(opened, [pair], "snoozed", 60.0)
        assert await opened.fetchval(again) == first
        await opened.execute("UPDATE supervisor.jobs_waiting SET due_at = now()")
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 1
        assert await opened.fetchval(again) == first
        await complete(opened, [await claim_one(opened, worker)])
        assert await opened.fetchval(again) != first
        assert await count(opened, "job_keys") == 1


@pytest.mark.parametrize("end", ["complete", "finish", "quarantine"])
async def test_every_end_gives_the_key_back(end: str) -> None:
    """However a job ends, its unique key is free afterwards."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', unique_key => 'k')")
        pair = await claim_one(opened, worker)
        if end == "complete":
            await complete(opened, [pair])
        elif end == "finish":
            await finish(opened, [pair], "cancelled")
        else:
            await opened.execute("UPDATE supervisor.workers SET status = 'LOST'")
            assert await release(opened, worker, max_losses=1) == {pair[0]: True}
        assert (await count(opened, "job_keys"), await count(opened, "job_history")) == (0, 1)


async def test_keys_within_one_batch() -> None:
    """Of the jobs of a batch with the same key, the first is made and stands for the others."""
    async with connected() as opened:
        rows = await opened.fetch(
            "SELECT * FROM supervisor.enqueue_many($1, $2, unique_keys => $3)",
            ["noop"] * 4,
            ["{}"] * 4,
            ["a", None, "a", "b"],
        )
        assert [row["created"] for row in rows] == [True, True, False, True]
        assert rows[2]["id"] == rows[0]["id"]
        assert await count(opened, "jobs") == 3


async def test_one_key_from_many_callers_is_one_job() -> None:
    """Callers that enqueue the same key at once all get the id of one job."""
    found: list[int] = []
    async with schema() as dsn, session(dsn) as opened:

        async def caller() -> None:
            async with session(dsn) as other:
                found.append(await other.fetchval("SELECT supervisor.enqueue('noop', '{}', unique_key => 'k')"))

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(caller())
        assert len(found) == 8
        assert len(set(found)) == 1
        assert await count(opened, "jobs") == 1


async def test_a_job_is_there_when_its_caller_commits() -> None:
    """A job enqueued in a transaction that is rolled back was never there, and its key is free."""
    async with connected() as opened:
        change = opened.transaction()
        await change.start()
        await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', unique_key => 'k')")
        await change.rollback()
        assert (await count(opened, "jobs"), await count(opened, "job_keys")) == (0, 0)


async def test_a_future_job_waits_until_it_is_promoted() -> None:
    """A job with a later time cannot be claimed before it has been promoted, which happens when it is due."""
    async with connected() as opened:
        worker = await add_worker(opened)
        when = datetime.now(UTC) + timedelta(hours=1)
        job = await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', run_at => $1)", when)
        many = (
            "SELECT id FROM supervisor.enqueue_many('{noop}', ARRAY['{}']::jsonb[], run_ats => ARRAY[$1::timestamptz])"
        )
        other = await opened.fetchval(many, when)
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 0
        assert await claim(opened, worker) == []
        await opened.execute("UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp()")
        assert await opened.fetchval("SELECT supervisor.promote(NULL)") == 0
        assert await opened.fetchval("SELECT supervisor.promote(1)") == 1
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 1
        assert {row["id"] for row in await claim(opened, worker)} == {job, other}


@pytest.mark.parametrize("when", ["infinity", "-infinity", "0044-03-15 BC", "3000-01-01"])
async def test_a_time_that_no_client_can_read_is_refused(when: str) -> None:
    """A job whose time would break the claims that meet it is not enqueued."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="run_at = "):
            await opened.execute(f"SELECT supervisor.enqueue('noop', '{{}}', run_at => '{when}')")


@pytest.mark.parametrize("timeout_s", ["'NaN'", "'infinity'", "0", "-1"])
async def test_a_timeout_that_is_no_time_is_refused(timeout_s: str) -> None:
    """A kind whose deadline cannot be computed is not written down."""
    async with connected() as opened:
        with pytest.raises(asyncpg.CheckViolationError, match="timeout_s"):
            await opened.execute(f"UPDATE supervisor.job_kinds SET timeout_s = {timeout_s}")  # noqa: S608


@pytest.mark.parametrize("call", ["enqueue('nope')", "enqueue_many('{noop,nope}', ARRAY['{}', '{}']::jsonb[])"])
async def test_an_unknown_kind_is_refused(call: str) -> None:
    """A kind that no worker offers is an error that names it, and nothing is enqueued."""
    async with connected() as opened:
        with pytest.raises(asyncpg.PostgresError, match="kind 'nope'"):
            await opened.execute(f"SELECT supervisor.{call}")
        assert await count(opened, "jobs") == 0


@pytest.mark.parametrize(
    "arguments",
    ["'{noop}', ARRAY[]::jsonb[]", "'{noop}', NULL", "NULL, NULL", "'{noop}', ARRAY['1'::jsonb], tenants => '{a,b}'"],
)
async def test_arrays_of_different_lengths_are_refused(arguments: str) -> None:
    """Arrays that do not fit together enqueue nothing."""
    async with connected() as opened:
        with pytest.raises(asyncpg.PostgresError, match="arrays of one length"):
            await opened.execute(f"SELECT supervisor.enqueue_many({arguments})")


async def test_plain_numbers_do_for_plain_sql() -> None:
    """The call from SQL takes integers, and nulls for its defaults."""
    async with connected() as opened:
        call = "SELECT supervisor.enqueue('noop', NULL, priority => NULL, max_attempts => 7)"
        job = await opened.fetchval(call)
        row = await opened.fetchrow("SELECT id, args, priority, max_attempts FROM supervisor.jobs")
        assert row is not None
        assert tuple(row) == (job, "{}", 0, 7)


async def test_only_sleepers_are_woken() -> None:
    """A NOTIFY is sent for a queue on which a worker sleeps, when a job can run at once, and for no other."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.add_listener("supervisor", lambda *given: heard.put_nowait(str(given[3])))
        await enqueue(opened, 1)
        await opened.execute("UPDATE supervisor.workers SET idle_queues = '{default}' WHERE id = $1", worker)
        later = "ARRAY[now() + interval '1 h']"
        await opened.execute(f"SELECT supervisor.enqueue_many('{{noop}}', ARRAY['1'::jsonb], run_ats => {later})")
        await opened.execute("SELECT supervisor.enqueue('noop', queue => 'other')")
        assert heard.empty()
        await enqueue(opened, 3)
        async with asyncio.timeout(LIMIT):
            assert await heard.get() == "default"
        assert heard.empty()
