"""Migrations that fail under way: in their SQL, at a time limit, by a cancel or with the connection."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import MigrationError
from supervisor.store import migration_run
from supervisor.store.migrate import Limits, Progress, Step, status, up
from supervisor.store.migration_session import lock_key
from tests.store.migration_folder import LIMIT, TABLE, connection, failure_of, objects, records, until, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.migration_folder import Connection


async def test_a_failing_migration_leaves_those_before_it(tmp_path: Path) -> None:
    """What came before the failure stays, nothing of the failed one does, and after a repair the rest follows."""
    folder = write(tmp_path, TABLE, "CREATE TABLE supervisor.b ();\nSELECT 1/0;", "CREATE TABLE supervisor.c ()")
    async with fresh_database() as dsn:
        with pytest.raises(MigrationError, match=r"002_m2.sql:2:1: division by zero \(22012\)") as caught:
            await up(dsn, folder=folder)
        assert "nothing of 002_m2 was kept" in str(caught.value)
        assert not caught.value.transient
        assert await records(dsn) == [(1, "m1", True)]
        assert ("supervisor", "relation", "b") not in await objects(dsn)
        write(tmp_path, TABLE, "CREATE TABLE supervisor.b ()", "CREATE TABLE supervisor.c ()")
        assert [one.version for one in (await up(dsn, folder=folder)).applied] == [2, 3]


PLPGSQL = "CREATE FUNCTION supervisor.f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  {}\nEND\n$$;"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "CREATE TABLE supervisor.b (\n);\n--\n/*\n*/\n\nselct 1;\n",
            '002_m2.sql:7:1: syntax error at or near "selct" (42601)\n  7 | selct 1;\n    | ^',
            id="line 7",
        ),
        pytest.param(
            "/* é */ SELECT supervisor.a.b,\r\n\tsupervisor.a.x FROM supervisor.a",
            "002_m2.sql:2:2: column a.x does not exist (42703)\n  2 | \tsupervisor.a.x FROM supervisor.a\n    | \t^",
            id="after the name",
        ),
        pytest.param(
            "SELECT supervisor.a.b, x\nFROM supervisor.a",
            '002_m2.sql:1:24: column "x" does not exist (42703)\n  1 | SELECT supervisor.a.b, x\n',
            id="same line",
        ),
        pytest.param(
            "SELECT 1;\n  CREATE TABLE\n  supervisor.a ()",
            '002_m2.sql:2:3: relation "a" already exists (42P07)\n  2 |   CREATE TABLE\n    |   ^',
            id="no position",
        ),
        pytest.param(
            "SELECT 1;\n" + PLPGSQL.format("RETRUN 1;"),
            '002_m2.sql:4:3: syntax error at or near "RETRUN" (42601)\n  4 |   RETRUN 1;\n    |   ^',
            id="body",
        ),
        pytest.param(
            "DO $$\nBEGIN\n  PERFORM supervisor.a.b,\n    x FROM supervisor.a;\nEND\n$$",
            '002_m2.sql:4:5: column "x" does not exist (42703)\n  4 |     x FROM',
            id="within a block",
        ),
        pytest.param(
            "CREATE FUNCTION supervisor.f() RETURNS int LANGUAGE sql AS $$\n  SELECT b FROM supervisor.x\n$$",
            '002_m2.sql:2:17: relation "{schema}.x" does not exist (42P01)\n  2 |   SELECT b FROM supervisor.x\n',
            id="sql function",
        ),
        pytest.param(
            "CREATE TABLE b ()",
            "002_m2.sql:1:14: no schema has been selected to create in (3F000)\n  1 | CREATE TABLE b ()\n"
            "    |              ^\n  remedy: name the schema: supervisor.name",
            id="no schema",
        ),
        pytest.param(
            "VACUUM supervisor.a", "  remedy: put it alone into a file whose first line is", id="no-transaction"
        ),
        pytest.param("CREATE SCHEMA supervisor", "  remedy: the schema exists before the first migration", id="schema"),
        pytest.param("CREATE SCHEMA IF NOT EXISTS supervisor; SELECT x", "002_m2.sql:1:48: column", id="if not exists"),
        pytest.param(
            "CREATE TABLE supervisor.p (id int PRIMARY KEY);\n"
            "CREATE TABLE supervisor.c (p int REFERENCES supervisor.p DEFERRABLE INITIALLY DEFERRED);\n"
            "INSERT INTO supervisor.c VALUES (1)",
            '002_m2.sql: cannot be committed: insert or update on table "c" violates foreign key constraint',
            id="deferred",
        ),
    ],
)
@pytest.mark.parametrize(("schema", "dry_run"), [("supervisor", False), ("a_longer_name_for_it", True)])
async def test_an_error_shows_its_line(tmp_path: Path, text: str, message: str, schema: str, dry_run: bool) -> None:
    """What PostgreSQL refuses is shown with file, line, column and the line as it is written in the file."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn:
        await up(dsn, folder=folder, schema=schema)
        before = await objects(dsn)
        with pytest.raises(MigrationError) as caught:
            await up(dsn, folder=write(tmp_path, TABLE, text), schema=schema, dry_run=dry_run)
        assert message.replace("{schema}", schema) in str(caught.value)
        assert await objects(dsn) == before


async def test_a_migration_that_takes_too_long(tmp_path: Path) -> None:
    """A migration has a time limit, its own if it says so, and overrunning it is an error of the moment."""
    text = "-- supervisor: timeout=50ms\nSELECT 1;\nSELECT pg_catalog.pg_sleep(60)"
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE))
        with pytest.raises(
            MigrationError, match=r"(?s)002_m2.sql:3:1: .*statement timeout.*remedy: if it was"
        ) as caught:
            await up(dsn, folder=write(tmp_path, TABLE, text))
        assert caught.value.transient
        with pytest.raises(MigrationError, match="statement timeout"):
            await up(dsn, folder=write(tmp_path, TABLE, "SELECT pg_sleep(60)"), limits=Limits(migration_timeout=0.05))


async def test_a_migration_of_many_statements_has_one_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for the whole migration, however short its statements are."""
    monkeypatch.setattr(migration_run, "CLIENT_MARGIN", 0.0)
    text = "-- supervisor: timeout=200ms\n" + "SELECT pg_sleep(0.1);\n" * 50
    async with fresh_database() as dsn:
        with pytest.raises(MigrationError, match=r"001_m1.sql: took longer than 0.2 s and was given up") as caught:
            await up(dsn, folder=write(tmp_path, text))
        assert caught.value.transient
        assert (await status(dsn, folder=tmp_path)).version == 0


async def test_a_table_in_use_is_not_waited_for_long(tmp_path: Path) -> None:
    """A migration waits for a table only so long, so that it does not hold up everybody who queues behind it."""
    text = "-- supervisor: lock-timeout=50ms\nALTER TABLE supervisor.a ADD c int"
    async with fresh_database() as dsn, connection(dsn) as user:
        await up(dsn, folder=write(tmp_path, TABLE))
        async with user.transaction():
            await user.execute("SELECT FROM supervisor.a")
            with pytest.raises(
                MigrationError, match=r"(?s)002_m2.sql:2:1: .*lock timeout.*remedy: the table is"
            ) as caught:
                await up(dsn, folder=write(tmp_path, TABLE, text))
            assert caught.value.transient
            folder = write(tmp_path, TABLE, text.partition("\n")[2])
            with pytest.raises(MigrationError, match="lock timeout"):
                await up(dsn, folder=folder, limits=Limits(lock_timeout=0.05))
        assert len((await up(dsn, folder=write(tmp_path, TABLE, text))).applied) == 1


async def test_the_turn_of_another_is_waited_for_with_a_limit(tmp_path: Path) -> None:
    """While another process migrates we wait, say for whom, and give up after the limit."""
    folder = write(tmp_path, TABLE)
    told: list[Progress] = []
    async with fresh_database() as dsn, connection(dsn) as other:
        await other.execute("SET application_name = 'the other'")
        async with other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock($1)", lock_key("supervisor"))
            with pytest.raises(MigrationError, match=r"another process was migrating.*the other") as caught:
                await up(dsn, folder=folder, limits=Limits(turn_timeout=0.001), progress=told.append)
            assert caught.value.transient
            # another schema is no business of theirs
            assert len((await up(dsn, folder=folder, schema="another")).applied) == 1
        assert [one.step for one in told] == [Step.WAITING]
        assert "the other" in told[0].about
        assert len((await up(dsn, folder=folder)).applied) == 1


async def test_a_lost_connection(tmp_path: Path) -> None:
    """When the server ends our connection in the middle, nothing is kept, and it is an error of the moment."""
    folder = write(tmp_path, "CREATE TABLE supervisor.a ();\nSELECT pg_terminate_backend(pg_backend_pid());")
    async with fresh_database() as dsn:
        with pytest.raises(MigrationError, match=r"001_m1.sql:2:1: ") as caught:
            await up(dsn, folder=folder)
        assert caught.value.transient
        assert not [one for one in await objects(dsn) if one[0] == "supervisor"]


async def test_a_cancelled_migration(tmp_path: Path) -> None:
    """Cancelled in the middle, a migration ends at once, leaves nothing, and the turn is free."""
    folder = write(tmp_path, "CREATE TABLE supervisor.a ();\nSELECT pg_advisory_xact_lock(4711)")
    async with fresh_database() as dsn, connection(dsn) as opened:
        async with opened.transaction():
            await opened.execute("SELECT pg_advisory_xact_lock(4711)")
            async with asyncio.TaskGroup() as group:
                task = group.create_task(up(dsn, folder=folder))
                await waiting_for(opened, 4711)
                task.cancel()
            assert task.cancelled()
        assert len((await up(dsn, folder=folder)).applied) == 1


async def waiting_for(opened: Connection, key: int) -> None:
    """Wait until somebody waits for this advisory lock."""
    await until(opened, "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1)", key)


async def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    """A server that accepts a connection and says nothing is given up after the limit."""
    done = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        dsn = f"postgresql://someone:secret@127.0.0.1:{port}/x?sslmode=disable"
        with pytest.raises(MigrationError, match="cannot connect to the database: it took too long") as caught:
            await up(dsn, folder=write(tmp_path, TABLE), limits=Limits(connect_timeout=0.05))
        assert caught.value.transient
        assert "secret" not in str(caught.value)
        done.set()


async def test_a_server_that_stops_answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that freezes in the middle of a migration is given up after the limits, not waited for."""
    monkeypatch.setattr(migration_run, "CLIENT_MARGIN", 0.0)
    folder = write(tmp_path, "SELECT pg_advisory_xact_lock(4711)")
    limits = Limits(migration_timeout=0.5, command_timeout=0.2, lock_timeout=60)
    frozen = 0
    async with fresh_database() as dsn, connection(dsn) as opened, opened.transaction():
        await opened.execute("SELECT pg_advisory_xact_lock(4711)")
        try:
            async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
                attempt = group.create_task(failure_of(up(dsn, folder=folder, limits=limits)))
                await waiting_for(opened, 4711)
                frozen = await opened.fetchval("SELECT pid FROM pg_locks WHERE NOT granted AND objid = 4711")
                os.kill(frozen, signal.SIGSTOP)
            assert attempt.result().transient
        finally:
            os.kill(frozen, signal.SIGCONT)
