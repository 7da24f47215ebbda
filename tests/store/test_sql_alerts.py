"""The views on the fleet: what is wrong among the workers, which versions live, and how often processes start."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.store.sql_session import add_worker, connected, expire, lose

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

SET_STATUS = "SELECT supervisor.set_worker_status($1, $2)"


async def alerts(opened: Connection) -> list[str]:
    """Return what is wrong."""
    return [row["alert"] for row in await opened.fetch("SELECT alert FROM supervisor.worker_alerts ORDER BY alert")]


async def test_all_is_well() -> None:
    """Workers that live and beat, and those that have ended in order, are no reason for an alarm."""
    async with connected() as opened:
        await add_worker(opened)
        stopping, stopped = await add_worker(opened), await add_worker(opened)
        await opened.fetchval(SET_STATUS, stopping, "STOPPING")
        await opened.fetchval(SET_STATUS, stopped, "STOPPED")
        assert await alerts(opened) == []


@pytest.mark.parametrize(
    ("change", "alert"),
    [
        ("last_heartbeat_at = clock_timestamp() - interval '31 s'", "stale_worker"),
        ("lease_expires_at = clock_timestamp() - interval '1 s'", "stale_worker"),
        ("status = 'STOPPING', lease_expires_at = clock_timestamp() - interval '1 s'", "hung_stopping"),
        ("status = 'STOPPING', stopping_at = clock_timestamp() - interval '61 s'", "hung_stopping"),
    ],
)
async def test_what_is_wrong_with_a_worker(change: str, alert: str) -> None:
    """A silent worker, and a stop that does not come to its end, are each told by their own view and in the list."""
    async with connected() as opened:
        await add_worker(opened)
        worker = await add_worker(opened)
        await opened.execute(f"UPDATE supervisor.workers SET {change} WHERE id = $1", worker)  # noqa: S608 - our own
        assert await alerts(opened) == [alert]
        view = "alert_stale_workers" if alert == "stale_worker" else "alert_hung_workers"
        (row,) = await opened.fetch(f"SELECT id FROM supervisor.{view}")  # noqa: S608 - our own
        assert row["id"] == worker


async def test_several_singletons_are_told() -> None:
    """Were the unique index lost, the second active singleton would be an alert."""
    async with connected() as opened:
        await opened.execute("DROP INDEX supervisor.workers_singleton")
        ids = [await add_worker(opened) for _ in range(3)]
        await opened.execute("UPDATE supervisor.workers SET singleton = 'shop' WHERE id < $1", ids[2])
        (row,) = await opened.fetch("SELECT * FROM supervisor.alert_several_singletons")
        assert (row["singleton"], row["workers"], row["ids"]) == ("shop", 2, ids[:2])
        assert await alerts(opened) == ["several_singletons"]


async def test_versions_are_counted() -> None:
    """More than one version among those that live is drift; the dead do not count."""
    async with connected() as opened:
        ids = [await add_worker(opened) for _ in range(3)]
        await opened.execute("UPDATE supervisor.workers SET version = 'v2' WHERE id = $1", ids[0])
        (row,) = await opened.fetch("SELECT * FROM supervisor.alert_version_drift")
        assert (row["versions"], row["workers"]) == (2, 3)
        assert json.loads(row["workers_by_version"]) == {"v1": 2, "v2": 1}
        drifting = await opened.fetch("SELECT id FROM supervisor.worker_overview WHERE drifts")
        assert [row["id"] for row in drifting] == [ids[0]]
        await expire(opened, ids[0])
        assert await opened.fetch("SELECT FROM supervisor.alert_version_drift") == []


async def test_starts_are_counted() -> None:
    """Starts and losses are counted for each host, by the hour and by the day."""
    async with connected() as opened:
        ids = [await add_worker(opened) for _ in range(4)]
        hours = "UPDATE supervisor.workers SET started_at = started_at - make_interval(hours => $2) WHERE id = $1"
        for worker, age in zip(ids, (0, 0, 2, 25), strict=True):
            await opened.execute(hours, worker, age)
        await lose(opened, ids[2])
        (row,) = await opened.fetch("SELECT * FROM supervisor.worker_restarts")
        assert (row["host"], row["live"], row["starts_1h"], row["starts_24h"], row["lost_24h"]) == ("host", 3, 2, 3, 1)


async def test_a_heartbeat_tells_how_it_is() -> None:
    """The overview has what heartbeats said: how many, the longest time between two, and the jobs that run."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.execute("UPDATE supervisor.workers SET last_heartbeat_at = last_heartbeat_at - interval '20 s'")
        for running in (7, None):
            await opened.fetch("SELECT * FROM supervisor.heartbeat($1, 30, NULL, $2)", worker, running)
        row = await opened.fetchrow("SELECT * FROM supervisor.worker_overview")
        assert row is not None
        assert (row["heartbeats"], row["running"], row["is_live"], row["drifts"]) == (2, 7, True, False)
        assert 20 <= row["longest_gap_s"] < 60
        assert row["silent_s"] < 10
        assert row["rescue_at"] > row["lease_expires_at"]
        await lose(opened, worker)
        row = await opened.fetchrow("SELECT * FROM supervisor.worker_overview")
        assert row is not None
        assert (row["is_live"], row["silent_s"], row["rescue_at"]) == (False, None, None)
