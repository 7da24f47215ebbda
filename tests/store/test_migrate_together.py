"""Many processes that migrate one database at once, and one that is killed in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from supervisor.store import migration_ledger
from supervisor.store.migrate import up, verify
from tests.store.migrating_process import done, go, migrating
from tests.store.migration_folder import TABLE, connection, objects, records, until, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "-- supervisor: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_b ON supervisor.a (b)"
WAITS = "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711)"


@pytest.mark.timeout(120)
async def test_ten_processes_apply_each_migration_once(tmp_path: Path) -> None:
    """Of ten processes that start at once each migration is applied by exactly one, in order, and all succeed."""
    texts = [f"CREATE TABLE supervisor.t{number} (); SELECT pg_sleep(0.01)" for number in range(6)]
    folder = write(tmp_path, TABLE, *texts, INDEX, "INSERT INTO supervisor.a VALUES (1)")
    async with fresh_database() as dsn, contextlib.AsyncExitStack() as stack:
        processes = await asyncio.gather(*(stack.enter_async_context(migrating(dsn, folder)) for _ in range(10)))
        for process in processes:
            go(process)
        applied = await asyncio.gather(*(done(process) for process in processes), return_exceptions=True)
        assert [error for error in applied if isinstance(error, BaseException)] == []
        done_by_someone = [version for versions in applied if isinstance(versions, list) for version in versions]
        assert sorted(done_by_someone) == list(range(1, 10))
        assert await records(dsn) == [(version, f"m{version}", True) for version in range(1, 10)]
        await verify(dsn, folder=folder)
        async with connection(dsn) as opened:
            assert await opened.fetchval("SELECT count(*) FROM supervisor.a") == 1


async def test_what_others_did_before_our_turn_is_seen(tmp_path: Path) -> None:
    """What was committed after our transaction began and before we had our turn counts, whatever was cached before."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as opened:
        assert await migration_ledger.read(opened, "supervisor") == ()
        async with opened.transaction():
            await up(dsn, folder=folder)
            assert [record.version for record in await migration_ledger.read(opened, "supervisor")] == [1]
            await migration_ledger.create(opened, "supervisor")


async def test_a_process_killed_in_a_migration_leaves_nothing_of_it(tmp_path: Path) -> None:
    """The server notices a killed process even while it waits for a lock, undoes its work, and the next one goes on."""
    half = "-- supervisor: lock-timeout=1h\nCREATE TABLE supervisor.half ();\nSELECT pg_advisory_xact_lock(4711);"
    folder = write(tmp_path, TABLE, half)
    async with fresh_database() as dsn, connection(dsn) as opened:
        async with opened.transaction(), migrating(dsn, folder) as process:
            await opened.execute("SELECT pg_advisory_xact_lock(4711)")
            go(process)
            await until(opened, WAITS)
            process.kill()
            await process.wait()
            await until(opened, f"NOT {WAITS}")
        assert await records(dsn) == [(1, "m1", True)]
        assert ("supervisor", "relation", "half") not in await objects(dsn)
        assert [one.version for one in (await up(dsn, folder=folder)).applied] == [2]
