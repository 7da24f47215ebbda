"""Notifications of the database: heard, probed, and told when they can no longer come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import DatabaseUnavailable
from supervisor.store.database import Database
from supervisor.store.wakeups import Wakeups
from tests.store.fault_proxy import Way, proxied
from tests.store.linked import linked, prepared
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from supervisor.store.link import Link


@dataclass
class Ear:
    """What was heard, in order."""

    heard: asyncio.Queue[object] = field(default_factory=asyncio.Queue)

    async def open(self, dsn: str, *, schema: str = "supervisor") -> Wakeups:
        """Listen to a database."""
        heard = self.heard.put_nowait
        database = Database(dsn, schema=schema)
        return await Wakeups.open(database, on_queue=heard, on_cancel=heard, on_lost=lambda: heard("lost"))

    async def next(self) -> object:
        """Wait for the next that is heard."""
        return await asyncio.wait_for(self.heard.get(), LIMIT)


async def notify(link: Link, channel: str, payload: str) -> None:
    """Send a notification."""
    await link.fetchval("SELECT pg_notify($1, $2)", channel, payload)


@pytest.mark.parametrize("schema", ["supervisor", "other"])
async def test_notifications_are_heard(schema: str) -> None:
    """The names of queues and the ids of jobs arrive, for our schema only; what is no id is passed over."""
    ear = Ear()
    async with prepared() as dsn, linked(dsn) as link:
        wakeups = await ear.open(dsn, schema=schema)
        for channel, payload in [
            ("supervisor" if schema == "other" else "other", "not ours"),
            (f"{schema}_cancel", "all"),
            (f"{schema}_cancel", "²"),
            (schema, "mail"),
            (f"{schema}_cancel", "42"),
        ]:
            await notify(link, channel, payload)
        assert [await ear.next(), await ear.next()] == ["mail", 42]
        await wakeups.close()


async def test_a_probe_comes_back() -> None:
    """A probe of a connection that lives succeeds, again and again, and others do not hear it."""
    ear, other = Ear(), Ear()
    async with prepared() as dsn:
        wakeups, others = await ear.open(dsn), await other.open(dsn)
        await wakeups.probe(LIMIT)
        await wakeups.probe(LIMIT)
        assert ear.heard.empty()
        assert other.heard.empty()
        await wakeups.close()
        await others.close()


@pytest.mark.parametrize("way", Way)
async def test_a_probe_finds_silence(way: Way) -> None:
    """A probe of a connection that swallows everything fails in time, and the connection is given up."""
    ear = Ear()
    async with prepared() as dsn, proxied(dsn) as proxy:
        wakeups = await ear.open(proxy.dsn)
        proxy.swallow(way)
        with pytest.raises(DatabaseUnavailable, match=r"within 0\.1 s"):
            await wakeups.probe(0.1)
        assert await ear.next() == "lost"
        with pytest.raises(DatabaseUnavailable):
            await wakeups.probe(LIMIT)
        await wakeups.close()


async def test_a_lost_connection_is_told_at_once() -> None:
    """Whoever listens learns of the end of the connection without a probe, and only once."""
    ear = Ear()
    async with prepared() as dsn, proxied(dsn) as proxy:
        wakeups = await ear.open(proxy.dsn)
        proxy.reset()
        assert await ear.next() == "lost"
        await wakeups.close()
        assert ear.heard.empty()


async def test_a_connection_lost_during_a_probe() -> None:
    """A probe does not wait for its time to pass when the connection ends."""
    ear = Ear()
    async with prepared() as dsn, proxied(dsn) as proxy:
        wakeups = await ear.open(proxy.dsn)
        proxy.swallow(Way.DOWN)
        async with asyncio.TaskGroup() as group:
            probe = group.create_task(failure_of(wakeups))
            await proxy.passed(b"pg_notify", Way.UP)
            proxy.reset()
        assert "lost" in str(probe.result())
        await wakeups.close()


async def failure_of(wakeups: Wakeups) -> DatabaseUnavailable:
    """Probe, and return the failure."""
    with pytest.raises(DatabaseUnavailable) as caught:
        await wakeups.probe(LIMIT)
    return caught.value


async def test_closing_is_no_loss() -> None:
    """Who stops listening is not told of a loss."""
    ear = Ear()
    async with prepared() as dsn:
        wakeups = await ear.open(dsn)
        await wakeups.close()
        await asyncio.sleep(0)
        assert ear.heard.empty()


async def test_a_failed_start_leaves_nothing() -> None:
    """Silence in the middle of the start is an error in time, without a connection left behind."""
    ear = Ear()
    async with prepared() as dsn, proxied(dsn) as proxy:
        proxy.swallow(Way.DOWN)
        with pytest.raises(DatabaseUnavailable):
            await Wakeups.open(Database(proxy.dsn), on_queue=ear.heard.put_nowait, on_cancel=print, within=0.1)
