"""The figures are measured by themselves, shown to whoever asks, and tell when the database suffers."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from actors import surveyor
from actors.surveyor import Surveyor
from supervisor.jobs.events import JobsEscalated, PressureEased, PressureRose
from supervisor.jobs.pressure import SLOW_CLAIM, Pressure
from supervisor.store import figures
from supervisor.store.outage import Outage
from supervisor.telemetry import fleet_gauges, metrics
from supervisor.telemetry.job_tallies import CLAIM
from supervisor.testing import FakeClock, running
from supervisor.tree.child import Child
from tests.actors.parts import parts, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Never

    from supervisor.store.database import Database
    from tests.actors.parts import Parts


def child(parts: Parts, pressure: Pressure | None = None) -> Child[Never]:
    """Make a surveyor."""
    return Child("surveyor", lambda: Surveyor(parts.database, pressure or Pressure()))


def deep(count: int) -> bool:
    """Whether the queue is shown with so many jobs."""
    return fleet_gauges.QUEUE_DEPTH.values().get(("default",)) == count


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(surveyor, "PERIOD", 0.02)
    monkeypatch.setattr(surveyor, "EVERY", dict.fromkeys(surveyor.EVERY, 0.05))


async def test_everything_is_measured_and_shown() -> None:
    """A first measurement of every part comes at the start, and the metrics show it with its age."""
    async with parts() as shared:
        await shared.worker()
        await shared.enqueue(3)
        async with running(child(shared)):
            await shared.until("SELECT FROM supervisor.surveys HAVING min(measured_at) > '-infinity'")
            metrics.render()
            await until(lambda: fleet_gauges.AGE.values().keys() == {(part,) for part in surveyor.EVERY})
            await until(partial(deep, 3))
            assert fleet_gauges.WORKERS.values()["RUNNING",] == 1
            assert fleet_gauges.MODE.values()["normal",] == 1
            assert fleet_gauges.QUEUE_JOBS.values()["default", "ready"] == 3
            text = metrics.render().decode()
            assert 'supervisor_queue_jobs{queue="default",state="ready"} 3.0' in text
        assert fleet_gauges.AGE.values() == {}


async def test_the_figures_follow_the_jobs() -> None:
    """What changes is measured again, as long as somebody asks for it."""
    async with parts() as shared, running(child(shared)):
        for count in (1, 2):
            await shared.enqueue()
            metrics.render()
            await until(partial(deep, count))


async def test_old_jobs_rise() -> None:
    """Jobs of a queue for which it is set rise by themselves, and an event says how many."""
    async with parts() as shared:
        await shared.enqueue(2)
        await shared.execute("UPDATE supervisor.jobs SET priority = 5, run_at = now() - interval '100 s'")
        await shared.execute("INSERT INTO supervisor.queue_settings (queue, escalate_after_s) VALUES ('default', 60)")
        async with running(child(shared), log=shared.log):
            await shared.until("SELECT FROM supervisor.jobs WHERE priority = 4")
            await until(lambda: shared.log.of(JobsEscalated, queue="default", count=2))


async def test_slow_claims_are_told_once_and_their_end_too() -> None:
    """When claims have become slow an event says so, what can wait waits longer, and later all is well again."""
    pressure = Pressure()
    async with parts() as shared, running(child(shared, pressure), log=shared.log):
        await until(fleet_gauges.AGE.values)
        CLAIM.observe(SLOW_CLAIM * 100, ("slow",))
        await until(lambda: shared.log.of(PressureRose))
        assert shared.log.of(PressureRose)[0].causes == ("slow_claims",)
        await until(lambda: shared.log.of(PressureEased))
        assert pressure.factor == 1.0
        assert len(shared.log.of(PressureRose)) == 1


class Idle:
    """Stands for a database whose answers a test makes up."""

    def __init__(self) -> None:
        self.outage = Outage()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        yield None


async def test_a_host_that_is_not_needed_tries_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another host measures, this one asks less and less often, and as before once it is its turn."""
    monkeypatch.setattr(surveyor, "PERIOD", 5.0)
    monkeypatch.setattr(surveyor, "EVERY", {"queues": 5.0})
    tries, needed = list[float](), False

    async def survey(*_: object) -> bool:
        tries.append(clock.now())
        return needed

    async def nothing(*_: object) -> dict[str, int]:
        return {}

    monkeypatch.setattr(figures, "survey", survey)
    monkeypatch.setattr(figures, "escalate", nothing)
    monkeypatch.setattr(Surveyor, "_read", nothing)
    clock, database = FakeClock(), cast("Database", Idle())
    async with running(Child("surveyor", lambda: Surveyor(database, Pressure())), clock=clock):
        await clock.advance(600.0)
        assert len(tries) < 40
        assert 20 <= tries[-1] - tries[-2] <= 35
        needed = True
        await clock.advance(600.0)
        assert tries[-1] - tries[-2] <= 10
