"""Migrations in a real database: what is applied, what is written down, and what is refused."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, MigrationError
from supervisor.store import migration_ledger, migration_run
from supervisor.store.migrate import Applied, Limits, Progress, State, Step, status, up, verify
from supervisor.store.migration_files import load
from supervisor.store.migration_session import lock_key
from supervisor.store.sql_tokens import significant
from tests.store.migration_folder import LIMIT, TABLE, connection, failure_of, objects, records, until, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.migration_folder import Connection

OPERATOR = "SELECT version, name, applied_at, execution_time_ms FROM schema_migrations ORDER BY version DESC"


async def test_migrations_are_applied_in_order_and_written_down(tmp_path: Path) -> None:
    """Each pending migration is applied once, in order, and the operator's query says when and how long."""
    folder = write(tmp_path, TABLE, "ALTER TABLE supervisor.a ADD c int", "INSERT INTO supervisor.a VALUES (1, 2)")
    async with fresh_database() as dsn:
        before = await status(dsn, folder=folder)
        assert (before.version, [entry.state for entry in before.entries]) == (0, [State.PENDING] * 3)
        report = await up(dsn, folder=folder)
        assert [(one.version, one.name) for one in report.applied] == [(1, "m1"), (2, "m2"), (3, "m3")]
        assert (await up(dsn, folder=folder)).applied == ()
        after = await verify(dsn, folder=folder)
        assert (after.version, after.pending, after.problems) == (3, (), ())
        async with connection(dsn) as opened:
            await opened.execute("SET search_path = supervisor")
            rows = await opened.fetch(OPERATOR)
            assert [(row["version"], row["name"]) for row in rows] == [(3, "m3"), (2, "m2"), (1, "m1")]
            assert [row["execution_time_ms"] for row in reversed(rows)] == [
                one.execution_time_ms for one in report.applied
            ]
            assert rows[2]["applied_at"] <= rows[1]["applied_at"] <= rows[0]["applied_at"]
            assert await opened.fetchval("SELECT c FROM a") == 2
            checksums = [
                row[0] for row in await opened.fetch("SELECT checksum FROM schema_migrations ORDER BY version")
            ]
            assert checksums == [file.checksum for file in load(folder)]


async def test_progress_is_told(tmp_path: Path) -> None:
    """Each migration is announced before and after; one that fails is announced as failed."""
    folder = write(tmp_path, TABLE, "SELECT 1/0")
    told: list[Progress] = []
    async with fresh_database() as dsn:
        with pytest.raises(MigrationError):
            await up(dsn, folder=folder, progress=told.append)
    assert [(one.step, one.about) for one in told] == [
        (Step.STARTED, "001_m1"),
        (Step.FINISHED, "001_m1"),
        (Step.STARTED, "002_m2"),
        (Step.FAILED, "002_m2"),
    ]
    assert told[1].seconds > 0


async def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    """A dry run does all that is pending, each on top of the one before, and leaves the database as it was."""
    folder = write(tmp_path, TABLE, "ALTER TABLE supervisor.a ADD c int", "INSERT INTO supervisor.a (c) VALUES (1)")
    async with fresh_database() as dsn:
        before = await objects(dsn)
        report = await up(dsn, folder=folder, dry_run=True)
        assert (report.dry_run, [one.version for one in report.applied]) == (True, [1, 2, 3])
        assert await objects(dsn) == before
        assert len((await status(dsn, folder=folder)).pending) == 3
        await up(dsn, folder=write(tmp_path, TABLE))
        write(tmp_path, TABLE, "ALTER TABLE supervisor.a ADD c int", "INSERT INTO supervisor.a (d) VALUES (1)")
        with pytest.raises(MigrationError, match=r'003_m3.sql:1:27: column "d" of relation "a" does not exist'):
            await up(dsn, folder=folder, dry_run=True)


async def test_a_modified_file_is_refused(tmp_path: Path) -> None:
    """A file that changed after it was applied stops everything, with both checksums and the remedy."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE, "SELECT 1"))
        old = load(tmp_path)[0].checksum
        folder = write(tmp_path, TABLE + "-- an afterthought", "SELECT 1", "SELECT 2")
        new = load(folder)[0].checksum
        message = f"(?s)001_m1.sql: was modified after it was applied.*{old}.*{new}.*remedy: bring back the text"
        for refused in (up(dsn, folder=folder), up(dsn, folder=folder, dry_run=True), verify(dsn, folder=folder)):
            with pytest.raises(MigrationError, match=message) as caught:
                await refused
            assert not caught.value.transient
        found = await status(dsn, folder=folder)
        assert [entry.state for entry in found.entries] == [State.MODIFIED, State.APPLIED, State.PENDING]
        assert re.search(message, found.problems[0])
        assert [version for version, _, _ in await records(dsn)] == [1, 2]


async def test_line_ends_are_no_modification(tmp_path: Path) -> None:
    """A checkout with other line ends is the same migration."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, "CREATE TABLE supervisor.a ();\nSELECT 1;\n"))
        await verify(dsn, folder=write(tmp_path, "CREATE TABLE supervisor.a ();\r\nSELECT 1;\r\n"))


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """A database with migrations that this code has no files for is refused, and each of them is named."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE, "SELECT 2", "SELECT 3"))
        checksums = [file.checksum for file in load(tmp_path)]
        write(tmp_path, TABLE)
        for refused in (up(dsn, folder=tmp_path), verify(dsn, folder=tmp_path)):
            with pytest.raises(
                MigrationError, match=r"(?s)newer than this code: 002_m2.*003_m3.*remedy: run the"
            ) as caught:
                await refused
            assert all(checksum in str(caught.value) for checksum in checksums[1:])
        found = await status(dsn, folder=tmp_path)
        assert [entry.state for entry in found.entries] == [State.APPLIED, State.UNKNOWN, State.UNKNOWN]
        assert found.version == 3


async def test_a_hole_in_the_records_is_refused(tmp_path: Path) -> None:
    """A migration without a record below one that has one is refused, since nobody knows what it would do now."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE, "SELECT 2"))
        async with connection(dsn) as opened:
            await opened.execute("DELETE FROM supervisor.schema_migrations WHERE version = 1")
        with pytest.raises(MigrationError, match=r"001_m1 is not recorded as applied, but 002 is.*\n  remedy: bring"):
            await up(dsn, folder=tmp_path)


async def test_an_older_database_is_not_verified(tmp_path: Path) -> None:
    """Code does not run on a database that lacks migrations; the message names them and the command."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE))
        folder = write(tmp_path, TABLE, "SELECT 2", "SELECT 3")
        with pytest.raises(
            MigrationError, match=r"it lacks 002_m2 \(pending\), 003_m3 \(pending\)\n  remedy: python -m"
        ):
            await verify(dsn, folder=folder)


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


async def test_nothing_pending_means_no_waiting(tmp_path: Path) -> None:
    """Where nothing is pending, nobody waits for another's turn."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as other, other.transaction():
        await up(dsn, folder=folder)
        await other.execute("SELECT pg_advisory_xact_lock($1)", lock_key("supervisor"))
        assert (await up(dsn, folder=folder, limits=Limits(turn_timeout=0.001))).applied == ()
        await verify(dsn, folder=folder)


async def test_settings_do_not_matter(tmp_path: Path) -> None:
    """Neither settings of the database nor what an earlier migration set change what a migration does."""
    leaky = """
        SET search_path = supervisor; SET statement_timeout = 1; RESET statement_timeout; SET lock_timeout = 1;
        CREATE ROLE {role}; GRANT {role} TO CURRENT_USER; SET ROLE {role}"""
    later = """
        CREATE TABLE supervisor.seen AS SELECT current_setting('search_path') AS path, current_user AS role,
            current_setting('lock_timeout') AS lock, current_setting('transaction_isolation') AS isolation,
            current_setting('TimeZone') AS zone"""
    async with fresh_database() as dsn, connection(dsn) as opened:
        name = await opened.fetchval("SELECT current_database()")
        for setting in (
            "default_transaction_isolation = 'serializable'",
            "default_transaction_read_only = on",
            "standard_conforming_strings = off",
            "statement_timeout = 60000",
            "idle_in_transaction_session_timeout = 60000",
            "TimeZone = 'Asia/Tokyo'",
        ):
            await opened.execute(f"ALTER DATABASE {name} SET {setting}")
        folder = write(tmp_path, leaky.format(role=f"leaky_{name}"), later, r"SELECT 'a backslash \'")
        try:
            await up(dsn, folder=folder, dry_run=True)
            assert len((await up(dsn, folder=folder)).applied) == 3
            seen = await opened.fetchrow("SELECT path, role, lock, isolation, zone FROM supervisor.seen")
            user = await opened.fetchval("SELECT current_user")
            assert seen is not None
            assert tuple(seen) == ("", user, "10s", "read committed", "UTC")
        finally:
            await opened.execute("SET default_transaction_read_only = off")
            await opened.execute(f"DROP ROLE IF EXISTS leaky_{name}")


async def test_another_schema_in_a_database_with_other_things(tmp_path: Path) -> None:
    """In a schema of another name everything is made there, and whatever else the database has stays as it is."""
    routine = """
        CREATE FUNCTION supervisor.f() RETURNS bigint LANGUAGE plpgsql SET search_path = supervisor, pg_temp AS $$
        BEGIN PERFORM pg_notify('supervisor', 'x'); RETURN (SELECT count(*) FROM a); END$$;
        CREATE SEQUENCE supervisor.ids; ALTER TABLE supervisor.a ALTER b SET DEFAULT nextval('supervisor.ids')"""
    prose = "INSERT INTO supervisor.a DEFAULT VALUES; COMMENT ON SCHEMA supervisor IS E'the supervisor''s'"
    folder = write(tmp_path, TABLE + routine, prose)
    others = """
        CREATE SCHEMA supervisor; CREATE TABLE supervisor.a (other text); INSERT INTO supervisor.a VALUES ('mine');
        CREATE TABLE public.schema_migrations (version text); INSERT INTO public.schema_migrations VALUES ('2020')"""
    async with fresh_database() as dsn, connection(dsn) as opened:
        await opened.execute(others)
        before = await objects(dsn)
        assert len((await up(dsn, folder=folder, schema="order", dry_run=True)).applied) == 2
        assert await objects(dsn) == before
        await up(dsn, folder=folder, schema="order")
        await up(dsn, folder=folder, schema="second")
        made = await objects(dsn) - before
        assert {schema for schema, _, _ in made} == {"order", "second"}
        assert {name for schema, _, name in made if schema == "order"} == {
            *("", "a", "f", "ids", "schema_migrations", "schema_migrations_pkey")
        }
        assert await records(dsn, "order") == await records(dsn, "second") == [(1, "m1", True), (2, "m2", True)]
        heard: list[str] = []
        await opened.add_listener("order", lambda *message: heard.append(str(message[3])))
        assert await opened.fetchval('SELECT "order".f()') == 1
        assert heard == ["x"]
        assert await opened.fetchval("SELECT other FROM supervisor.a") == "mine"
        assert await opened.fetchval("SELECT version FROM public.schema_migrations") == "2020"
        await verify(dsn, folder=folder, schema="order")


async def test_our_own_migrations_fit_every_schema() -> None:
    """What this release ships makes the same things in a schema of any name, and refers to no other."""
    async with fresh_database() as dsn, connection(dsn) as opened:
        await up(dsn, dry_run=True)
        await up(dsn, schema="order")
        assert "supervisor" not in {schema for schema, _, _ in await objects(dsn)}
        bodies = await opened.fetch(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = '\"order\"'::regnamespace"
        )
        for body in bodies:
            tokens = [token.text for token in significant(body["prosrc"])]
            assert not [text for text in tokens if text.lower().strip("\"'").split(".")[0] == "supervisor"], body[0]
        await up(dsn)
        made = await objects(dsn)
        ours, theirs = ({one[1:] for one in made if one[0] == schema} for schema in ("supervisor", "order"))
        assert ours == theirs


@pytest.mark.parametrize("limit", [0, -1.0, float("inf"), float("nan")])
def test_limits_that_cannot_be(limit: float) -> None:
    """Every wait has an end, so a limit is a number of seconds above 0."""
    with pytest.raises(ConfigError, match="lock_timeout = "):
        Limits(lock_timeout=limit)


@pytest.mark.parametrize("schema", ["Order", "a;b", "pg_x", ""])
async def test_a_schema_that_cannot_be(schema: str) -> None:
    """A name that no schema can have is refused before anything else happens."""
    for refused in (up("", schema=schema), status("", schema=schema), verify("", schema=schema)):
        with pytest.raises(ConfigError, match="schema = "):
            await refused


async def test_a_table_of_somebody_else(tmp_path: Path) -> None:
    """A table schema_migrations that another program made is recognised and left alone."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as opened:
        await opened.execute("CREATE TABLE public.schema_migrations (version text)")
        with pytest.raises(
            MigrationError, match=r"public.schema_migrations belongs to something else.*\n  remedy: choose"
        ):
            await up(dsn, folder=folder, schema="public")


async def test_a_role_that_may_create_no_schema(tmp_path: Path) -> None:
    """A role without the right to create schemas is told what to ask for, and needs no more than that."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as opened:
        name = await opened.fetchval("SELECT current_database()")
        role = f"poor_{name}"
        await opened.execute(f"CREATE ROLE {role}")
        await opened.execute(f"ALTER DATABASE {name} SET role = {role}")  # whoever connects from now on has this role
        try:
            with pytest.raises(MigrationError, match=f"the role {role} may not create the schema") as caught:
                await up(dsn, folder=folder)
            remedy = str(caught.value).partition("run: ")[2]
            await opened.execute(remedy)
            assert [one.version for one in (await up(dsn, folder=folder)).applied] == [1]
        finally:
            await opened.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


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


@pytest.mark.parametrize("dsn", ["secret", "postgresql://u:se/cret@host/x", "postgresql://u:p@host:secret/x"])
async def test_a_url_that_cannot_be_understood(tmp_path: Path, dsn: str) -> None:
    """A wrong URL is an error that does not quote it, not even in its cause, for it may hold the password."""
    with pytest.raises((ConfigError, MigrationError)) as caught:
        await status(dsn, folder=write(tmp_path, TABLE))
    assert not re.search("secret|cret@", f"{caught.value} {caught.value.__cause__}")


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


async def test_what_is_recorded_is_not_recorded_again(tmp_path: Path) -> None:
    """A record of what was applied is never overwritten, whoever has lost their turn."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as opened:
        await up(dsn, folder=folder)
        before = await opened.fetchrow("SELECT * FROM supervisor.schema_migrations")
        with pytest.raises(MigrationError, match="001_m1 was applied by somebody else") as caught:
            await migration_ledger.write(opened, "supervisor", load(folder)[0], 1)
        assert caught.value.transient
        assert await opened.fetchrow("SELECT * FROM supervisor.schema_migrations") == before


async def test_a_dry_run_reports_what_it_did_not_run(tmp_path: Path) -> None:
    """A dry run checks the syntax of what cannot be in a transaction, and says that it did no more."""
    async with fresh_database() as dsn:
        folder = write(tmp_path, TABLE, "-- supervisor: no-transaction\nVACUUM supervisor.a")
        report = await up(dsn, folder=folder, dry_run=True)
        assert report.applied[1] == Applied(2, "m2", None)
        folder = write(tmp_path, TABLE, "-- supervisor: no-transaction\nVACUUM FULLY supervisor.a")
        with pytest.raises(MigrationError, match=r"002_m2.sql:2:14: syntax error"):
            await up(dsn, folder=folder, dry_run=True)
