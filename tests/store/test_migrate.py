"""Migrations in a real database: what is applied, where, and what is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.errors import MigrationError
from supervisor.store import migration_ledger
from supervisor.store.migrate import Applied, Limits, Progress, State, Step, status, up, verify
from supervisor.store.migration_files import load
from supervisor.store.migration_session import lock_key
from supervisor.store.sql_tokens import significant
from tests.store.migration_folder import TABLE, connection, objects, records, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

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


async def test_line_ends_are_no_modification(tmp_path: Path) -> None:
    """A checkout with other line ends is the same migration."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, "CREATE TABLE supervisor.a ();\nSELECT 1;\n"))
        await verify(dsn, folder=write(tmp_path, "CREATE TABLE supervisor.a ();\r\nSELECT 1;\r\n"))


async def test_an_older_database_is_not_verified(tmp_path: Path) -> None:
    """Code does not run on a database that lacks migrations; the message names them and the command."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE))
        folder = write(tmp_path, TABLE, "SELECT 2", "SELECT 3")
        with pytest.raises(
            MigrationError, match=r"it lacks 002_m2 \(pending\), 003_m3 \(pending\)\n  remedy: python -m"
        ):
            await verify(dsn, folder=folder)


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
