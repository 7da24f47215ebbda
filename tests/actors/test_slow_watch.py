"""A job that runs for much longer than its kind usually does is noticed while it runs."""

from __future__ import annotations

import asyncio

import pytest

from actors import slow_watch
from actors.slow_watch import SlowWatch, expected_of
from supervisor.jobs.events import JobSlow
from supervisor.jobs.job import job
from supervisor.store.figures import KindFigures
from supervisor.telemetry.job_tallies import RUNNING_SLOW
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.engine import engine, job_database
from tests.actors.parts import until

USUAL = "INSERT INTO supervisor.kind_figures VALUES ($1, 0.001, 0.002, $2, 0, now())"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and find slow what takes a moment."""
    monkeypatch.setattr(slow_watch, "PERIOD", 0.02)
    monkeypatch.setattr(slow_watch, "LEAST", 0.05)


async def test_a_slow_run_is_told_once_and_listed() -> None:
    """A run beyond twice the usual is told of once, counted and listed; one of a kind that is not known is not."""
    ends = asyncio.Event()

    @job()
    async def usual() -> None:
        await ends.wait()

    @job()
    async def unknown() -> None:
        await ends.wait()

    async with job_database() as dsn, engine(dsn, [usual, unknown]) as one:
        await one.fetch(USUAL, "usual", 100)
        await one.fetch(USUAL, "unknown", 3)
        (id_,) = await one.enqueue("usual")
        await one.enqueue("unknown")
        one.wakes.note("default")
        async with running(Child("watch", lambda: SlowWatch(one.database, one.tasks)), log=one.log):
            await until(lambda: one.log.of(JobSlow))

            async def listed() -> bool:
                return bool(await one.value("SELECT count(*) FROM supervisor.slow(10)"))

            await one.until(listed)
            assert RUNNING_SLOW.values() == {("usual",): 1}
            assert [event.job_id for event in one.log.of(JobSlow)] == [id_]
            assert one.log.of(JobSlow)[0].expected == 0.05
            ends.set()
            await until(lambda: RUNNING_SLOW.values() == {})
        await one.written()


def test_what_is_usual_is_told_from_enough_runs() -> None:
    """Twice the 95th percentile, but a second at least, and nothing where too few runs are known."""
    rows = [
        KindFigures(kind=kind, p50=None, p95=p95, runs=runs, failed_24h=0, age=0.0)
        for kind, p95, runs in (("long", 10.0, 20), ("short", 0.001, 20), ("few", 10.0, 19), ("none", None, 0))
    ]
    assert expected_of(rows) == {"long": 20.0, "short": 0.05}
