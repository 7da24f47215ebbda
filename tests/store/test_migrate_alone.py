"""Migrations without a transaction: what protects them, and how they recover from a crash at any point."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg
import pytest

from supervisor.errors import MigrationError
from supervisor.store import concurrent_index
from supervisor.store.migrate import Limits, Progress, State, Step, status, up, verify
from tests.store.migrating_process import go, migrating
from tests.store.migration_folder import LIMIT, TABLE, connection, failure_of, records, until, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.migration_folder import Connection

INDEX = "-- supervisor: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_b ON supervisor.a (b)"
UNIQUE = INDEX.replace("CREATE INDEX", "CREATE UNIQUE INDEX")
BUILDING = "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE%CONCURRENTLY%' AND wait_event_type = 'Lock')"
INVALID = "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('supervisor.a_b') AND NOT indisvalid)"


async def valid(opened: Connection, schema: str = "supervisor") -> bool | None:
    """Say whether the index is valid; None if there is none."""
    found: bool | None = await opened.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", f'"{schema}".a_b'
    )
    return found


@pytest.mark.parametrize("schema", ["supervisor", "order"])
async def test_it_runs_outside_a_transaction(tmp_path: Path, schema: str) -> None:
    """What PostgreSQL refuses in a transaction is run, recorded, and followed by the next migration."""
    folder = write(tmp_path, TABLE, INDEX, "-- supervisor: no-transaction\nVACUUM supervisor.a", "SELECT 1")
    async with fresh_database() as dsn, connection(dsn) as opened:
        assert [one.version for one in (await up(dsn, folder=folder, schema=schema)).applied] == [1, 2, 3, 4]
        assert await valid(opened, schema)
        await verify(dsn, folder=folder, schema=schema)


async def test_others_wait_without_being_in_its_way(tmp_path: Path) -> None:
    """While an index is built others wait for their turn, and hold nothing that the building would wait for."""
    told: list[Progress] = []
    all_wait = asyncio.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        if [one.step for one in told].count(Step.WAITING) == 3:
            all_wait.set()

    async with fresh_database() as dsn, connection(dsn) as opened, connection(dsn) as writer:
        await up(dsn, folder=write(tmp_path, TABLE))
        folder = write(tmp_path, TABLE, INDEX, "SELECT 1")
        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group, writer.transaction():
            await writer.execute("INSERT INTO supervisor.a VALUES (1)")
            tasks = [group.create_task(up(dsn, folder=folder, progress=tell)) for _ in range(4)]
            await until(opened, BUILDING)
            await all_wait.wait()
            assert (await status(dsn, folder=folder)).entries[1].state is State.UNFINISHED
        assert sorted(one.version for task in tasks for one in task.result().applied) == [2, 3]
        assert await valid(opened)


async def test_a_crash_before_the_record(tmp_path: Path) -> None:
    """If we die after the statement and before its record, the next run does it again, to no harm, and records it."""

    class Died(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.step is Step.FINISHED:
            raise Died

    async with fresh_database() as dsn, connection(dsn) as opened:
        await up(dsn, folder=write(tmp_path, TABLE))
        folder = write(tmp_path, TABLE, INDEX)
        with pytest.raises(Died):
            await up(dsn, folder=folder, progress=die)
        assert await valid(opened)
        assert await records(dsn) == [(1, "m1", True), (2, "m2", False)]
        with pytest.raises(MigrationError, match=r"it lacks 002_m2 \(unfinished\)"):
            await verify(dsn, folder=folder)
        oid = await opened.fetchval("SELECT 'supervisor.a_b'::regclass::oid")
        assert [one.version for one in (await up(dsn, folder=folder)).applied] == [2]
        assert await opened.fetchval("SELECT 'supervisor.a_b'::regclass::oid") == oid
        assert await records(dsn) == [(1, "m1", True), (2, "m2", True)]


async def test_a_crash_within_the_statement(tmp_path: Path) -> None:
    """If we are killed while an index is built, the invalid index that is left is dropped and built anew."""
    async with fresh_database() as dsn, connection(dsn) as opened, connection(dsn) as writer:
        await up(dsn, folder=write(tmp_path, TABLE))
        # that the server notices must not be for the limit
        folder = write(tmp_path, TABLE, INDEX.replace("no-transaction", "no-transaction, lock-timeout=1h"))
        async with writer.transaction():
            await writer.execute("INSERT INTO supervisor.a VALUES (1)")
            async with migrating(dsn, folder) as process:
                go(process)
                await until(opened, BUILDING)
                process.kill()
                await process.wait()
            await until(opened, f"NOT {BUILDING}")
        assert await valid(opened) is False
        assert [one.version for one in (await up(dsn, folder=folder)).applied] == [2]
        assert await valid(opened)


async def test_a_build_that_goes_on_without_us_is_waited_for(tmp_path: Path) -> None:
    """If the server still builds the index for somebody else, it is let finish, and then taken as it is."""
    async with fresh_database() as dsn, connection(dsn) as opened, connection(dsn) as writer, connection(dsn) as orphan:
        await up(dsn, folder=write(tmp_path, TABLE))
        folder = write(tmp_path, TABLE, INDEX)
        async with asyncio.TaskGroup() as group:
            async with writer.transaction():
                await writer.execute("INSERT INTO supervisor.a VALUES (1)")
                built = group.create_task(orphan.execute(INDEX.partition("\n")[2], timeout=LIMIT))
                await until(opened, INVALID)
                with pytest.raises(MigrationError, match=r"is invalid, and process .* is still at its table") as caught:
                    await up(dsn, folder=folder, limits=Limits(lock_timeout=0.001))
                assert caught.value.transient
                begun = asyncio.Event()
                task = group.create_task(up(dsn, folder=folder, progress=lambda _: begun.set()))
                await asyncio.wait_for(begun.wait(), LIMIT)
            await built
            await task
        assert await valid(opened)


async def test_an_index_that_is_not_valid_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of the right name that is of no use, made by whomever in the meantime, does not count as built."""

    async def too_early(*_: object, **__: object) -> None:
        """Find nothing to clear yet."""

    monkeypatch.setattr(concurrent_index, "clear", too_early)
    async with fresh_database() as dsn, connection(dsn) as opened:
        await up(dsn, folder=write(tmp_path, TABLE, "INSERT INTO supervisor.a VALUES (1), (1)"))
        with pytest.raises(asyncpg.UniqueViolationError):
            await opened.execute(UNIQUE.partition("\n")[2])
        with pytest.raises(MigrationError, match="a_b is invalid: building it failed elsewhere") as caught:
            await up(dsn, folder=write(tmp_path, TABLE, "INSERT INTO supervisor.a VALUES (1), (1)", INDEX))
        assert caught.value.transient
        assert (await records(dsn))[2] == (3, "m3", False)


async def test_an_index_that_cannot_be_built(tmp_path: Path) -> None:
    """A unique index over rows that are not is an error; once they are, the next attempt starts from nothing."""
    async with fresh_database() as dsn, connection(dsn) as opened:
        await up(dsn, folder=write(tmp_path, TABLE, "INSERT INTO supervisor.a VALUES (1), (1), (2)"))
        folder = write(tmp_path, TABLE, "INSERT INTO supervisor.a VALUES (1), (1), (2)", UNIQUE)
        message = r"(?s)003_m3.sql:2:1: could not create unique index.*recorded as unfinished and runs again"
        for _ in range(2):
            with pytest.raises(MigrationError, match=message) as caught:
                await up(dsn, folder=folder)
            assert not caught.value.transient
            assert await valid(opened) is False
        await opened.execute("DELETE FROM supervisor.a WHERE b = 1")
        await up(dsn, folder=folder)
        assert await valid(opened)


async def test_an_unfinished_migration_may_be_corrected(tmp_path: Path) -> None:
    """A file may change as long as it was never applied, even into one with a transaction."""
    async with fresh_database() as dsn:
        with pytest.raises(MigrationError):
            await up(dsn, folder=write(tmp_path, TABLE, "-- supervisor: no-transaction\nVACUUM supervisor.nothing"))
        assert await records(dsn) == [(1, "m1", True), (2, "m2", False)]
        folder = write(tmp_path, TABLE, "CREATE INDEX a_b ON supervisor.a (b)")
        await up(dsn, folder=folder)
        await verify(dsn, folder=folder)


async def test_time_limits_hold(tmp_path: Path) -> None:
    """Its time limits, of the server and of its file, hold outside a transaction too."""
    async with fresh_database() as dsn, connection(dsn) as writer, writer.transaction():
        await up(dsn, folder=write(tmp_path, TABLE))
        await writer.execute("INSERT INTO supervisor.a VALUES (1)")
        for directive in ("timeout=50ms", "lock-timeout=50ms"):
            folder = write(tmp_path, TABLE, INDEX.replace("no-transaction", f"no-transaction, {directive}"))
            with pytest.raises(MigrationError, match=f"due to {directive[:-13]}.*timeout") as caught:
                await up(dsn, folder=folder)
            assert caught.value.transient


async def test_the_guard_survives_the_limits_of_the_server(tmp_path: Path) -> None:
    """The idle transaction that keeps our turn is not ended by the server's limits for such."""
    async with fresh_database() as dsn, connection(dsn) as opened, connection(dsn) as writer:
        await up(dsn, folder=write(tmp_path, TABLE))
        name = await opened.fetchval("SELECT current_database()")
        await opened.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = 1")
        if await opened.fetchval("SELECT current_setting('transaction_timeout', true)") is not None:
            await opened.execute(f"ALTER DATABASE {name} SET transaction_timeout = 500")
        folder = write(tmp_path, TABLE, INDEX)
        async with asyncio.TaskGroup() as group:
            async with writer.transaction():
                await writer.execute("INSERT INTO supervisor.a VALUES (1)")
                task = group.create_task(up(dsn, folder=folder))
                await until(opened, BUILDING)
                await opened.execute("SELECT pg_sleep(0.8)")
            await task
        assert await valid(opened)


async def test_a_lost_guard(tmp_path: Path) -> None:
    """If the connection that keeps our turn is lost, the migration is not recorded, and the next run does it again."""
    async with fresh_database() as dsn, connection(dsn) as opened, connection(dsn) as writer:
        await up(dsn, folder=write(tmp_path, TABLE))
        folder = write(tmp_path, TABLE, INDEX)
        async with writer.transaction():
            await writer.execute("INSERT INTO supervisor.a VALUES (1)")
            async with contextlib.AsyncExitStack() as stack:
                group = await stack.enter_async_context(asyncio.TaskGroup())
                task = group.create_task(failure_of(up(dsn, folder=folder)))
                await until(opened, BUILDING)
                await opened.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                )
                await writer.execute("COMMIT; BEGIN")
        assert task.result().transient
        assert await records(dsn) == [(1, "m1", True), (2, "m2", False)]
        await up(dsn, folder=folder)
        await verify(dsn, folder=folder)
