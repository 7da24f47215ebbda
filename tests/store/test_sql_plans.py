"""The plans: what the hot functions read does not depend on what the statistics say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.sql_session import (
    add_worker,
    cancel,
    claim,
    complete,
    connected,
    enqueue,
    finish,
    hand_back,
    pairs_of,
    record,
    retry,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.store.sql_session import Connection, Pair

ENDED = """
INSERT INTO supervisor.job_history (job_id, kind, queue, args, status, finished_at)
SELECT -number, 'noop', 'default', '{}', 'completed', clock_timestamp() FROM generate_series(1, 50000) AS number"""
READ = """
SELECT sum(pg_stat_get_xact_tuples_returned(relation))::bigint
FROM unnest(ARRAY['jobs', 'jobs_pkey', 'jobs_ready', 'jobs_suspects']) AS name,
     LATERAL CAST('supervisor.' || name AS regclass) AS relation"""

READ_HISTORY = """
SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid))::bigint
FROM pg_class WHERE oid IN (SELECT relid FROM pg_partition_tree('supervisor.job_history'))"""


async def progress(opened: Connection, pairs: Sequence[Pair]) -> set[int]:
    """Report progress of jobs."""
    ids, versions = zip(*pairs, strict=True)
    call = "SELECT supervisor.report_progress($1, $2, $3, $3)"
    return {row[0] for row in await opened.fetch(call, ids, versions, [1] * len(ids))}


async def still_held(opened: Connection, pairs: Sequence[Pair]) -> set[int]:
    """Ask which jobs are still held."""
    ids, versions = zip(*pairs, strict=True)
    return {row[0] for row in await opened.fetch("SELECT supervisor.still_held($1, $2)", ids, versions)}


async def complete_with_steps(opened: Connection, pairs: Sequence[Pair]) -> set[int]:
    """Complete jobs that recorded steps."""
    ids, versions = zip(*pairs, strict=True)
    return {row[0] for row in await opened.fetch("SELECT supervisor.complete_with_steps($1, $2)", ids, versions)}


CALLS: dict[str, Callable[[Connection, Sequence[Pair]], Awaitable[set[int]]]] = {
    "complete": complete,
    "complete_with_steps": complete_with_steps,
    "finish": lambda opened, pairs: finish(opened, pairs, "failed"),
    "at_once": lambda opened, pairs: hand_back(opened, pairs, "interrupted"),
    "later": lambda opened, pairs: hand_back(opened, pairs, "retry", 60.0),
    "record": record,
    "progress": progress,
    "still_held": still_held,
}


@pytest.mark.parametrize("stale", ["empty", "unclaimed", "drained"])
@pytest.mark.parametrize("name", [*CALLS, "cancel"])
async def test_no_plan_depends_on_statistics(stale: str, name: str) -> None:
    """Each function looks its jobs up by id, even where the statistics say that there are none, or none is claimed."""
    async with connected() as opened:
        worker = await add_worker(opened)
        if stale == "drained":
            await enqueue(opened, 5000)
            await complete(opened, pairs_of(await claim(opened, worker, 5000)))
        if stale != "unclaimed":
            await opened.execute("ANALYZE supervisor.jobs")
        await enqueue(opened, 5000)
        if stale == "unclaimed":
            await opened.execute("ANALYZE supervisor.jobs")
        async with opened.transaction():
            pairs = pairs_of(await claim(opened, worker, 500))
            before = await opened.fetchval(READ)  # also counts what this session has not yet reported
            for start in range(0, 500, 50):
                chosen = pairs[start : start + 50]
                if name == "cancel":
                    assert len(await cancel(opened, [pair[0] for pair in chosen])) == 50
                else:
                    assert len(await CALLS[name](opened, chosen)) == 50
            assert await opened.fetchval(READ) - before < 3000


async def test_a_retry_reads_little_of_history() -> None:
    """A job that ended is found by the indexes among many that were completed."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await finish(opened, pairs_of(await claim(opened, worker)), "failed")
        await opened.execute(ENDED)
        await opened.execute("VACUUM supervisor.job_history")
        async with opened.transaction():
            before = await opened.fetchval(READ_HISTORY)
            assert await retry(opened, [job, -7]) == {job: None, -7: "completed"}
            assert await opened.fetchval(READ_HISTORY) - before < 10_000
