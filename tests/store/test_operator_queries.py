"""The queries that operators keep in their notes: they run as they stand, with the schema on the search path."""

from __future__ import annotations

import pytest

from tests.store.sql_session import add_worker, claim, connected, enqueue, expire

EXPIRED_LOCKS = """
SELECT job_id, service, claimed_by, lock_expires_at, last_heartbeat_at
FROM job_queue
WHERE lock_expires_at < NOW() AND status IN ('claimed','running')
"""
KILL_SWITCH_LOG = (
    "SELECT * FROM system_audit_log WHERE action_type LIKE '%kill_switch%' ORDER BY created_at DESC LIMIT 10"
)
MIGRATIONS = "SELECT version, name, applied_at, execution_time_ms FROM schema_migrations ORDER BY version DESC"
KILL_SWITCH = "SELECT * FROM system_config WHERE config_key = 'global_kill_switch'"


@pytest.mark.parametrize("path", ["supervisor", "public, supervisor", "supervisor, public"])
@pytest.mark.parametrize("query", [EXPIRED_LOCKS, KILL_SWITCH_LOG, MIGRATIONS, KILL_SWITCH])
async def test_a_query_runs_as_it_stands(query: str, path: str) -> None:
    """Whatever else is on the search path, the query finds our tables and columns."""
    async with connected() as opened:
        await opened.execute(f"SET search_path = {path}")
        await opened.fetch(query)


async def test_expired_locks_are_found() -> None:
    """A job whose worker is silent beyond its lease is listed with that worker; one in time is not."""
    async with connected() as opened:
        silent, alive = await add_worker(opened), await add_worker(opened)
        await enqueue(opened, 3)
        (lost,) = await claim(opened, silent, 1)
        await claim(opened, alive, 1)
        await expire(opened, silent)
        await opened.execute("SET search_path = supervisor")
        (row,) = await opened.fetch(EXPIRED_LOCKS)
        assert (row["job_id"], row["service"], row["claimed_by"]) == (lost["id"], "default", silent)
        assert row["last_heartbeat_at"] is not None


async def test_the_audit_log_is_found() -> None:
    """What was done to the kill switch is listed, the latest first."""
    async with connected() as opened:
        await opened.execute("SET search_path = supervisor")
        for action in ("activate_kill_switch", "set_mode", "deactivate_kill_switch"):
            await opened.fetchval("SELECT write_audit($1, 'kill_switch', NULL, 'me')", action)
        rows = await opened.fetch(KILL_SWITCH_LOG)
        assert [row["action_type"] for row in rows] == ["deactivate_kill_switch", "activate_kill_switch"]


async def test_the_migrations_are_found() -> None:
    """Every migration has its version, name, time and duration, the newest first."""
    async with connected() as opened:
        await opened.execute("SET search_path = supervisor")
        rows = await opened.fetch(MIGRATIONS)
        versions = [row["version"] for row in rows]
        assert versions == sorted(versions, reverse=True)
        assert versions[-1] == 1
        assert all(row["name"] and row["applied_at"] and row["execution_time_ms"] >= 0 for row in rows)


@pytest.mark.parametrize("active", ["true", "false"])
async def test_the_kill_switch_is_found(active: str) -> None:
    """The one row says whether the kill switch is on."""
    async with connected() as opened:
        await opened.execute("SET search_path = supervisor")
        await opened.execute(f"UPDATE control SET killed = {active}")  # noqa: S608 - one of two words
        (row,) = await opened.fetch(KILL_SWITCH)
        assert row["config_value"] == f'{{"active": {active}}}'
