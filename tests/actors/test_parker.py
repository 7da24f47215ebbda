"""The parker: what a switch or a gate stops goes out of the way, and comes back when it opens."""

from __future__ import annotations

from typing import Never

import pytest

from actors import parker
from actors.parker import Parker
from supervisor.jobs.events import JobsParked
from supervisor.jobs.switches import Switches
from supervisor.store import control
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.parts import Parts, parts

PARKED = "SELECT count(*) FROM supervisor.jobs_waiting WHERE reason = 'paused' HAVING count(*) = $1"
BACK = "SELECT count(*) FROM supervisor.jobs HAVING count(*) = $1"
SWITCH = "UPDATE supervisor.control SET off_kinds = '{noop}', epoch = epoch + 1"
ON = "UPDATE supervisor.control SET off_kinds = '{}', gated_kinds = '{}', epoch = epoch + 1"


def child(parts: Parts, switches: Switches | None = None, *, name: str = "parker") -> Child[Never]:
    """Make a parker, which hears of changes only by its poll."""
    known = switches or Switches()
    changed = known.follow()
    return Child(name, lambda: Parker(parts.database, known, changed, parts.wakes, holder=name, queues=["default"]))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look often, and move few jobs at a time."""
    monkeypatch.setattr(parker, "PERIOD", 0.02)
    monkeypatch.setattr(parker, "SOONEST", 0.02)
    monkeypatch.setattr(parker, "BLOCKS", 1)
    monkeypatch.setattr(parker, "BATCH", 7)


async def test_jobs_are_parked_and_come_back() -> None:
    """All jobs of a scope that is turned off are moved out of the way, also later ones, and all come back."""
    async with parts() as shared:
        await shared.enqueue(200)
        async with running(child(shared), log=shared.log):
            await shared.execute(SWITCH)
            await shared.until(PARKED, 200)
            event = await shared.log.expect(JobsParked)
            assert (event.parked, event.returned) == (200, 0)
            await shared.execute(
                "INSERT INTO supervisor.jobs (kind, queue, service, args) VALUES ('noop', 'default', 'default', '1')"
            )
            await shared.until(PARKED, 201)
            await shared.execute(ON)
            await shared.until(BACK, 201)
            assert await shared.rows("SELECT * FROM supervisor.jobs_waiting") == []


async def test_gates_come_and_go() -> None:
    """Jobs that begin to need a permit go behind their gate, and come back when they need none any more."""
    async with parts() as shared:
        await shared.enqueue(20)
        async with running(child(shared)):
            await shared.execute("UPDATE supervisor.control SET gated_kinds = '{noop}', epoch = epoch + 1")
            await shared.until(PARKED.replace("paused", "limited"), 20)
            await shared.execute(ON)
            await shared.until(BACK, 20)


async def test_two_hosts_take_turns() -> None:
    """Two hosts that look at once move each job once, and if one is gone the other goes on."""
    async with parts() as shared:
        await shared.enqueue(100)
        await shared.execute(SWITCH)
        async with running(child(shared, name="one")):
            async with running(child(shared, name="two")):
                await shared.until(PARKED, 100)
            await shared.execute(ON)
            await shared.execute("UPDATE supervisor.parking_turn SET ends = '-infinity'")  # as after its time
            await shared.until(BACK, 100)


async def test_it_hears_of_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process's copy of the switches changes it looks at once, and tells the claimer to do the same."""
    monkeypatch.setattr(parker, "PERIOD", 3600.0)
    async with parts() as shared:
        await shared.enqueue(3)
        switches = Switches()
        async with running(child(shared, switches)):
            for change, seen in ((SWITCH, PARKED), (ON, BACK)):
                await shared.execute(change)
                async with shared.database.connection() as link:
                    switches.put(await control.read(link))
                await shared.until(seen, 3)
                assert shared.wakes.take() == {"default"}


async def test_with_nothing_off_nothing_is_looked_through() -> None:
    """While nothing is off and nothing behind a gate, no host takes a turn, and nothing is written."""
    async with parts() as shared:
        await shared.enqueue(3)
        async with running(child(shared)):
            await shared.until("SELECT FROM pg_stat_activity WHERE query LIKE '%parking_state%' AND state = 'idle'")
        rows = await shared.rows("SELECT holder FROM supervisor.parking_turn")
        assert rows == [{"holder": ""}]
