"""The process can be measured: its events are counted, and its state is read when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.event_counter import count
from actors.meter import Meter
from supervisor.jobs import events as jobs
from supervisor.jobs.outcomes import INTERRUPTED
from supervisor.jobs.pressure import Pressure
from supervisor.process.events import LoopBlocked
from supervisor.telemetry import event_tallies as tallies
from supervisor.telemetry import metrics
from supervisor.telemetry import process_gauges as gauges
from supervisor.testing import running
from supervisor.tree import events as tree
from supervisor.tree.child import Child
from tests.actors.parts import parts
from tests.jobs.rows import claimed

if TYPE_CHECKING:
    from supervisor.telemetry.tallies import Tally
    from supervisor.tree.events import Event

JOB = (7, "kind", "queue", 1, "tenant")


async def test_the_state_is_read_when_somebody_looks() -> None:
    """Slots, connections, the lease and the back-off are as they are now, and gone with the actor."""
    pressure = Pressure()
    async with parts() as shared:
        meter = Child(
            "meter",
            lambda: Meter(shared.database, shared.lease, shared.slots, shared.outbox, pressure, version="v1"),
        )
        async with running(meter):
            await shared.become(lease=100.0)
            shared.slots.take(3)
            shared.outbox.ended(claimed(1), INTERRUPTED)
            assert gauges.SLOTS.values() == {("taken",): 3, ("free",): 7}
            assert gauges.UNWRITTEN.values() == {(): 1}
            assert 50 < gauges.LEASE.values()[()] <= 100
            async with shared.database.connection():
                assert gauges.CONNECTIONS.values()["lent",] == 1
            assert gauges.CONNECTIONS.values() == {("lent",): 0, ("idle",): 1, ("most",): 8}
            assert gauges.WAITERS.values() == {(): 0}
            assert gauges.BACK_OFF.values() == {(): 1.0}
            assert gauges.PRESSURE.values().keys() == {("old_snapshot",), ("dead_rows",), ("slow_claims",)}
            assert 'supervisor_build_info{python="3' in metrics.render().decode()
        assert gauges.WAITERS.values() == {}


@pytest.mark.parametrize(
    ("event", "tally", "labels", "by"),
    [
        (tree.ChildRestarting("root/a", 0.1, 1, 5), tallies.RESTARTS, ("root/a",), 1),
        (tree.SupervisorGaveUp("root/b", "c", 5, 60.0), tallies.GAVE_UP, ("root/b",), 1),
        (tree.ChildStalled("root/a", 1.0, ""), tallies.STALLS, ("root/a",), 1),
        (tree.ChildAbandoned("root/a", 1, ""), tallies.ABANDONED, ("root/a",), 1),
        (tree.DeadLetter("root/a", tree.DeadLetterReason.FULL, "text"), tallies.DEAD_LETTERS, ("full",), 1),
        (LoopBlocked("root", 2.5, None, "", ended=True, suspended=False), tallies.LOOP_BLOCKED, (), 2.5),
        (LoopBlocked("root", 2.5, None, "", ended=False, suspended=False), tallies.LOOP_BLOCKS, (), 0),
        (jobs.HandlerAbandoned("x", *JOB, "stop", 1.0, ""), tallies.HANDLERS_ABANDONED, ("kind",), 1),
        (jobs.JobSlow("x", *JOB, 3.0, 1.0), tallies.SLOW, ("kind",), 1),
        (jobs.JobsEscalated("x", "queue", 4), tallies.ESCALATED, ("queue",), 4),
        (jobs.JobsRecovered("x", 1, 5, 2), tallies.LEASES_EXPIRED, (), 5),
        (jobs.JobsRecovered("x", 1, 5, 2), tallies.QUARANTINED, (), 2),
        (jobs.LeaseInDoubt("x", 1, 3), tallies.LEASES_IN_DOUBT, (), 1),
        (jobs.WorkerLost("x", 1), tallies.WORKERS_LOST, (), 1),
        (jobs.DatabaseLost("x", "why"), tallies.OUTAGES, (), 1),
        (jobs.DatabaseBack("x", 1.5), tallies.OUTAGE, (), 1.5),
        (jobs.QuarantineStarted("x", 1), tallies.QUARANTINES, (), 1),
    ],
)
def test_an_event_is_counted(event: Event, tally: Tally, labels: tuple[str, ...], by: float) -> None:
    """Each event counts where it should, by what it tells, and without the tenant."""
    before = tally.counts().get(labels, 0.0)
    count(event)
    assert tally.counts().get(labels, 0.0) - before == by
    assert not any("tenant" in found for found in tally.counts())
