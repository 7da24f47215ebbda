"""The roles of the database: what a worker and a reader may do there, and what they may not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from supervisor.store.migrate import up, verify
from tests.store.postgres import fresh_database
from tests.store.sql_session import add_worker, claim, complete, enqueue, pairs_of, schema, session
from tests.store.test_operator_queries import EXPIRED_LOCKS, KILL_SWITCH, KILL_SWITCH_LOG, MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.store.sql_session import Connection

RUNTIME: Final = "supervisor_runtime"
READER: Final = "supervisor_reader"
OWNERS: Final = {"grant_roles", "open_change", "close_change", "recompute_gates"}
"""Functions that only the owner calls, or a function with the owner's rights."""

GUARDED: Final = (
    "control",
    "switches",
    "system_audit_log",
    "audit_head",
    "limits",
    "tenants",
    "queue_settings",
    "installation",
    "schema_migrations",
)


def as_role(dsn: str, role: str) -> str:
    """Return the DSN with which a session has the rights of a role from its first statement on."""
    return f"{dsn}&role={role}"


@contextlib.asynccontextmanager
async def acting(role: str) -> AsyncIterator[Connection]:
    """Give a connection of this role to a database with the schema."""
    async with schema() as dsn, session(as_role(dsn, role)) as opened:
        yield opened


@pytest.mark.parametrize("role", [RUNTIME, READER])
async def test_nobody_writes_what_is_audited(role: str) -> None:
    """Neither role can change by hand what leaves a trace in the audit log, least of all the log itself."""
    async with acting(role) as opened:
        for table in GUARDED:
            for statement in (f"DELETE FROM supervisor.{table}", f"TRUNCATE supervisor.{table}"):  # noqa: S608
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await opened.execute(statement)
            (column,) = await opened.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1",
                f"supervisor.{table}",
            )
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await opened.execute(f"UPDATE supervisor.{table} SET {column[0]} = NULL")  # noqa: S608
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await opened.execute(f"INSERT INTO supervisor.{table} DEFAULT VALUES")


@pytest.mark.parametrize("role", [RUNTIME, READER])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT digest FROM supervisor.tokens",
        "UPDATE supervisor.tokens SET role = 'admin'",
        "UPDATE supervisor.token_list SET role = 'admin'",
        "DELETE FROM supervisor.token_list",
        "INSERT INTO supervisor.tokens (id) VALUES ('x')",
        "ALTER TABLE supervisor.system_audit_log DISABLE TRIGGER ALL",
        "ALTER FUNCTION supervisor.write_audit SECURITY INVOKER",
        "CREATE OR REPLACE FUNCTION supervisor.control_lock_shared() RETURNS void LANGUAGE sql AS ''",
        "CREATE TABLE supervisor.extra ()",
        "CREATE FUNCTION supervisor.extra() RETURNS void LANGUAGE sql AS ''",
        "DROP TABLE supervisor.jobs",
        "TRUNCATE supervisor.jobs",
        "SELECT supervisor.grant_roles()",
        "SELECT supervisor.open_change()",
        "SELECT supervisor.close_change()",
        "GRANT supervisor_runtime TO supervisor_reader",
    ],
)
async def test_what_is_the_owner_s(role: str, statement: str) -> None:
    """Secrets, the schema itself and its rights are for the owner alone."""
    async with acting(role) as opened:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidGrantOperationError)):
            await opened.execute(statement)


async def test_the_runtime_changes_a_switch_through_its_function() -> None:
    """The runtime stops and starts work with a function that writes the audit log, which then verifies."""
    async with acting(RUNTIME) as opened:
        await opened.execute(
            "SELECT supervisor.change_switch(scope => 'kill_switch', name => '', value => 'true', reason => 'fire', "
            "actor => 'ana', source => 'here', request_id => NULL, cancel_running => true, expires_at => NULL, "
            "dry_run => false, if_epoch => NULL)"
        )
        (row,) = await opened.fetch("SELECT actor, reason FROM supervisor.system_audit_log")
        assert tuple(row) == ("ana", "fire")
        (found,) = await opened.fetch("SELECT * FROM supervisor.audit_verify(1, 10)")
        assert (found["checked"], found["problem"]) == (1, None)


async def test_the_runtime_does_its_work() -> None:
    """Jobs come in, are claimed and end, days of the history come and go, and tokens are made and looked up."""
    async with acting(RUNTIME) as opened:
        worker = await opened.fetchval("SELECT id FROM supervisor.register_worker('w', 'h', 1, 'worker', 'v1', 30)")
        await enqueue(opened, 3)
        pairs = pairs_of(await claim(opened, worker))
        assert await complete(opened, pairs) == {pair[0] for pair in pairs}
        await opened.execute("SELECT supervisor.make_history(3)")
        await opened.execute("SELECT supervisor.drop_history(1)")
        (ended,) = await opened.fetch("SELECT * FROM supervisor.ended_since(now() - interval '1 hour')")
        assert ended["completed"] == 3
        await opened.execute(
            "SELECT supervisor.create_token('abcdefghijkl', sha256('x'), 'ci', 'viewer', '{jobs:read}', NULL, NULL, 1, "
            "'ana', 'why')"
        )
        assert await opened.fetchval("SELECT digest FROM supervisor.token_of('abcdefghijkl')")
        await opened.execute("SELECT supervisor.touch_token('abcdefghijkl')")
        assert await opened.fetchval("SELECT supervisor.revoke_token('abcdefghijkl', 'ana', 'why')")


@pytest.mark.parametrize("query", [EXPIRED_LOCKS, KILL_SWITCH_LOG, MIGRATIONS, KILL_SWITCH])
async def test_a_reader_asks_what_operators_ask(query: str) -> None:
    """The queries that operators keep in their notes run with the rights of a reader."""
    async with schema() as dsn, session(dsn) as owner, session(as_role(dsn, READER)) as opened:
        await enqueue(owner, 2)
        await claim(owner, await add_worker(owner), 1)
        await opened.execute("SET search_path = supervisor")
        await opened.fetch(query)


async def test_a_reader_sees_all_but_tokens_and_changes_nothing() -> None:
    """A reader can select from every table and view but one, and call nothing that writes."""
    async with acting(READER) as opened:
        rows = await opened.fetch(
            "SELECT relname, has_table_privilege(oid, 'SELECT') AS sees, "
            "has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') AS writes "
            "FROM pg_class WHERE relnamespace = 'supervisor'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
        )
        assert [row["relname"] for row in rows if not row["sees"]] == ["tokens"]
        assert [row["relname"] for row in rows if row["writes"]] == []
        (named,) = await opened.fetch(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'supervisor'::regnamespace "
            "AND has_function_privilege(oid, 'EXECUTE') AND (provolatile = 'v' OR prosecdef)"
        )
        assert named[0] == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await enqueue(opened, 1)


async def test_every_table_and_function_has_its_grants() -> None:
    """A migration that makes a table or a function grants it: the runtime has what it needs, and PUBLIC nothing."""
    async with acting(RUNTIME) as opened:
        functions = await opened.fetch(
            "SELECT proname, has_function_privilege(oid, 'EXECUTE') AS ours, proacl::text ~ '[{,]=X' AS everybodys, "
            "proacl IS NULL AS forgotten FROM pg_proc WHERE pronamespace = 'supervisor'::regnamespace"
        )
        assert [row["proname"] for row in functions if row["everybodys"] or row["forgotten"]] == []
        assert {row["proname"] for row in functions if not row["ours"]} == OWNERS
        tables = await opened.fetch(
            "SELECT relname, has_table_privilege(oid, 'SELECT') AS sees, "
            "has_table_privilege(oid, 'INSERT') AS inserts, has_table_privilege(oid, 'UPDATE') AS updates, "
            "has_table_privilege(oid, 'DELETE') AS deletes FROM pg_class "
            "WHERE relnamespace = 'supervisor'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        assert [row["relname"] for row in tables if not row["sees"]] == ["tokens"]
        for row in tables:
            writes = row["relname"] not in {*GUARDED, "tokens"}
            assert (row["inserts"], row["updates"], row["deletes"]) == (writes, writes, writes), row["relname"]


async def test_a_function_with_the_owner_s_rights_is_safe_to_call() -> None:
    """Each has its own search path, so that no table or operator of its caller can get between."""
    async with acting(RUNTIME) as opened:
        rows = await opened.fetch(
            "SELECT proname, coalesce(proconfig::text, '') AS settings FROM pg_proc "
            "WHERE pronamespace = 'supervisor'::regnamespace AND prosecdef"
        )
        assert {"write_audit", "change_switch", "set_limit", "create_token", "make_history"} <= {
            row["proname"] for row in rows
        }
        assert [row["proname"] for row in rows if '"search_path=pg_catalog, pg_temp"' not in row["settings"]] == []


async def test_what_writes_something_guarded_has_the_owner_s_rights() -> None:
    """Every function that changes a guarded table can do so for the runtime, which else could not call it at all."""
    async with acting(RUNTIME) as opened:
        rows = await opened.fetch(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'supervisor'::regnamespace AND NOT prosecdef "
            "AND has_function_privilege(oid, 'EXECUTE') AND prosrc ~ $1",
            rf"(INSERT INTO|UPDATE|DELETE FROM)\s+supervisor\.({'|'.join((*GUARDED, 'tokens'))})\M",
        )
        assert [row["proname"] for row in rows] == []


@contextlib.asynccontextmanager
async def owner_without_rights(dsn: str, name: str, *roles: str) -> AsyncIterator[str]:
    """Make a role that may make a schema in this database and nothing else; remove it, and these, at the end."""
    async with session(dsn) as opened:
        database = await opened.fetchval("SELECT current_database()")
        await opened.execute(f'CREATE ROLE {name}; GRANT CREATE ON DATABASE "{database}" TO {name}')
        try:
            yield as_role(dsn, name)
        finally:
            for role in (*roles, name):
                if await opened.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role):
                    await opened.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_whoever_migrates_need_not_make_roles() -> None:
    """Without the right to make roles a migration goes through, and roles made later get their rights by a call."""
    async with (
        fresh_database() as dsn,
        owner_without_rights(dsn, "plain_owner", "guild_runtime", "guild_reader") as theirs,
        session(dsn) as administrator,
        session(theirs) as owner,
    ):
        await up(theirs, schema="guild")
        assert not await administrator.fetch("SELECT FROM pg_roles WHERE rolname LIKE 'guild_%'")
        assert (
            await administrator.fetchval(
                "SELECT count(*) FROM pg_proc WHERE pronamespace = 'guild'::regnamespace AND proacl::text ~ '[{,]=X'"
            )
            == 0
        )
        await administrator.execute("CREATE ROLE guild_runtime; CREATE ROLE guild_reader")
        await owner.execute("SELECT guild.grant_roles()")
        async with session(as_role(dsn, "guild_runtime")) as runtime:
            worker = await runtime.fetchval("SELECT id FROM guild.register_worker('w', 'h', 1, 'worker', 'v1', 30)")
            assert worker
            await runtime.execute("SELECT guild.make_history(2)")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await runtime.execute("DELETE FROM guild.system_audit_log")
        await verify(as_role(dsn, "guild_reader"), schema="guild")


async def test_whoever_migrates_may_make_roles_without_being_a_superuser() -> None:
    """An owner with the right to make roles makes them, and the runtime can then do its work."""
    async with (
        fresh_database() as dsn,
        owner_without_rights(dsn, "role_maker", "league_runtime", "league_reader") as theirs,
        session(dsn) as administrator,
    ):
        await administrator.execute("ALTER ROLE role_maker CREATEROLE")
        await up(theirs, schema="league")
        async with session(as_role(dsn, "league_runtime")) as runtime:
            assert await runtime.fetchval("SELECT id FROM league.register_worker('w', 'h', 1, 'worker', 'v1', 30)")
            await runtime.execute("SELECT league.make_history(2)")


async def test_roles_that_are_there_are_used() -> None:
    """A second database with a schema of that name shares the roles, and its owner grants them what is in it."""
    async with fresh_database() as dsn, fresh_database() as other:
        await up(dsn)
        await up(other)
        async with session(as_role(other, READER)) as opened:
            assert await opened.fetchval("SELECT count(*) FROM supervisor.jobs") == 0
        assert (await up(as_role(other, RUNTIME))).applied == ()
