"""Counts what the events of a tree tell, for the metrics."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from supervisor.jobs.events import (
    DatabaseBack,
    DatabaseLost,
    HandlerAbandoned,
    JobsEscalated,
    JobSlow,
    JobsRecovered,
    LeaseInDoubt,
    QuarantineStarted,
    WorkerLost,
)
from supervisor.process.events import LoopBlocked
from supervisor.telemetry import event_tallies as tallies
from supervisor.tree.events import (
    ChildAbandoned,
    ChildRestarting,
    ChildStalled,
    DeadLetter,
    SupervisorGaveUp,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from supervisor.tree.events import Event
    from supervisor.tree.runtime import Runtime


@asynccontextmanager
async def counting(runtime: Runtime) -> AsyncIterator[None]:
    """Count the events of a tree during the block."""
    runtime.subscribe(count)
    try:
        yield
    finally:
        runtime.unsubscribe(count)


def count(event: Event) -> None:
    """Count one event; may be called from any thread."""
    match event:
        case JobSlow(kind=kind):
            tallies.SLOW.add(1, (kind,))
        case HandlerAbandoned(kind=kind):
            tallies.HANDLERS_ABANDONED.add(1, (kind,))
        case JobsEscalated(queue=queue, count=jobs):
            tallies.ESCALATED.add(jobs, (queue,))
        case JobsRecovered(count=jobs, quarantined=quarantined):
            tallies.LEASES_EXPIRED.add(jobs)
            tallies.QUARANTINED.add(quarantined)
        case _:
            _count_of_worker(event)


def _count_of_worker(event: Event) -> None:
    match event:
        case LeaseInDoubt():
            tallies.LEASES_IN_DOUBT.add()
        case WorkerLost():
            tallies.WORKERS_LOST.add()
        case DatabaseLost():
            tallies.OUTAGES.add()
        case DatabaseBack(seconds=seconds):
            tallies.OUTAGE.add(seconds)
        case QuarantineStarted():
            tallies.QUARANTINES.add()
        case _:
            _count_of_tree(event)


def _count_of_tree(event: Event) -> None:
    match event:
        case ChildRestarting(path=path):
            tallies.RESTARTS.add(1, (path,))
        case SupervisorGaveUp(path=path):
            tallies.GAVE_UP.add(1, (path,))
        case ChildStalled(path=path):
            tallies.STALLS.add(1, (path,))
        case ChildAbandoned(path=path):
            tallies.ABANDONED.add(1, (path,))
        case DeadLetter(reason=reason):
            tallies.DEAD_LETTERS.add(1, (reason.value,))
        case LoopBlocked(seconds=seconds, ended=True):  # one that goes on is counted at its end
            tallies.LOOP_BLOCKS.add()
            tallies.LOOP_BLOCKED.add(seconds)
        case _:
            pass
