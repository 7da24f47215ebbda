"""The watch over versions: each mixture is told once, and its end."""

from __future__ import annotations

from actors.version_watch import PERIOD, VersionWatch
from supervisor.jobs.fleet_events import VersionDrift
from supervisor.testing import FakeClock, running
from supervisor.tree.child import Child
from tests.actors.parts import parts

VERSION = "UPDATE supervisor.workers SET version = $2 WHERE id = $1"


async def test_each_mixture_is_told_once() -> None:
    """One version alone is no news; two are a warning once, three again, and their end is told without alarm."""
    async with parts() as shared:
        clock = FakeClock()
        workers = [await shared.worker() for _ in range(3)]
        told: list[tuple[str, ...]] = []

        async def look(expected: int) -> None:
            """Let it look twice."""
            for _ in range(2):
                await clock.advance(2 * PERIOD)
                await shared.rows("SELECT pg_sleep(0.1)")
            told[:] = [event.versions for event in shared.log.of(VersionDrift)]
            assert len(told) == expected

        async with running(Child("watch", lambda: VersionWatch(shared.database)), clock=clock, log=shared.log):
            await look(0)
            await shared.execute(VERSION, workers[0], "v2")
            await look(1)
            await shared.execute(VERSION, workers[1], "v3")
            await look(2)
            await shared.execute("UPDATE supervisor.workers SET version = 'v2'")
            await look(3)
        assert told == [("v1", "v2"), ("v1", "v2", "v3"), ("v2",)]
        assert [event.log_level for event in shared.log.of(VersionDrift)] == [30, 30, 20]
