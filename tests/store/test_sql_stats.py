"""Numbers: what each queue has, and what ended lately, at a cost that does not grow with the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    cancel,
    claim,
    complete,
    connected,
    enqueue,
    finish,
    hand_back,
    pairs_of,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

ENDED = """
INSERT INTO supervisor.job_history (job_id, kind, queue, args, status, finished_at)
SELECT number, 'noop', 'bulk', '{"user_id": 12345, "action": "send_email"}', 'completed',
       clock_timestamp() - make_interval(secs => $2 * ($1 - number) / $1)
FROM generate_series(1, $1::integer) AS number"""
ENDED_SINCE = (
    "SELECT coalesce(sum(completed), 0)::bigint, coalesce(sum(failed), 0)::bigint "
    "FROM supervisor.ended_since(clock_timestamp() - make_interval(secs => $1))"
)


async def stats(opened: Connection) -> dict[str, Record]:
    """Return the numbers of each queue."""
    return {row["queue"]: row for row in await opened.fetch("SELECT * FROM supervisor.queue_stats()")}


async def ended_since(opened: Connection, seconds: float) -> tuple[int, int]:
    """Count what was completed, and what failed, in the last seconds."""
    row = await opened.fetchrow(ENDED_SINCE, seconds)
    assert row is not None
    return row[0], row[1]


async def test_a_queue_shows_where_its_jobs_are() -> None:
    """Each live job is counted once, by its state, and what ended by its end."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 20)
        pairs = pairs_of(await claim(opened, worker, 11))
        await complete(opened, pairs[:2])
        await finish(opened, pairs[2:3], "failed")
        await cancel(opened, [pairs[3][0]])
        await hand_back(opened, pairs[4:6], "retry", 60.0)
        await hand_back(opened, pairs[6:7], "snoozed", 60.0)
        await hand_back(opened, pairs[7:8], "blocked")
        await opened.fetchval("SELECT supervisor.enqueue('noop', run_at => now() + interval '1 h')")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 WHERE id = 20")
        await opened.execute("UPDATE supervisor.jobs SET run_at = now() - interval '50 s' WHERE id = 19")
        row = (await stats(opened))["default"]
        assert (row["ready"], row["running"], row["suspects"]) == (8, 3, 1)
        assert (row["delayed"], row["retrying"], row["blocked"]) == (2, 2, 1)
        assert (row["completed_1h"], row["failed_1h"]) == (2, 1)
        assert 50 <= row["oldest_ready_s"] < 80


async def test_a_queue_without_jobs_shows_zeros() -> None:
    """The queue of a kind that is known is shown before it has ever had a job."""
    async with connected() as opened:
        await add_kind(opened, "mail")
        (row,) = (await stats(opened)).values()
        assert tuple(row) == ("default", 0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("seconds", [0.0, 60.0, 86400.0])
async def test_a_short_history_is_counted_exactly(seconds: float) -> None:
    """Up to some ten thousand jobs the number is exact, from wherever it is asked."""
    async with connected() as opened:
        await opened.execute(ENDED, 10_000, 3600.0)
        completed, failed = await ended_since(opened, seconds)
        expected = await opened.fetchval(
            "SELECT count(*) FROM supervisor.job_history WHERE finished_at >= now() - make_interval(secs => $1)",
            seconds,
        )
        assert abs(completed - expected) <= 10  # a little time passes between the two
        assert failed == 0


async def test_a_long_history_is_told_from_a_part_of_it() -> None:
    """Of far more jobs a bounded number of rows is read, and the number is right within some percent."""
    async with connected() as opened:
        await opened.execute(ENDED, 200_000, 1800.0)
        worker = await add_worker(opened)
        await enqueue(opened, 3)
        await finish(opened, pairs_of(await claim(opened, worker)), "failed")
        read = (
            "SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid))::bigint "
            "FROM pg_class WHERE oid IN (SELECT relid FROM pg_partition_tree('supervisor.job_history'))"
        )
        async with opened.transaction():
            before = await opened.fetchval(read)
            completed, failed = await ended_since(opened, 900.0)
            assert await opened.fetchval(read) - before < 80_000
        assert abs(completed - 100_000) < 5_000
        assert failed == 3
