"""Plain handlers in their threads: how they hear of a cancel, and what becomes of those that do not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from supervisor.jobs.events import HandlerAbandoned, JobInterrupted, JobStarted
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled
from supervisor.jobs.step_log import StepLog
from supervisor.testing import FakeClock
from supervisor.tree.events import ExitRequested
from tests.actors.engine import Engine, engine, job_database, opened
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from typing import Any

    import pytest

    from supervisor.jobs.context import JobContext


async def live(one: Engine, id_: int) -> Any:  # noqa: ANN401 - a row
    """Return the row of a live job."""
    (row,) = await one.fetch("SELECT * FROM supervisor.jobs WHERE id = $1", id_)
    return row


async def test_a_thread_hears_of_its_deadline_when_it_asks() -> None:
    """A plain handler past its deadline keeps its slot until it ends, which is then a time-out."""
    go = threading.Event()

    @job(timeout=5.0, max_attempts=1)
    def works(ctx: JobContext) -> None:
        assert go.wait(LIMIT)
        assert ctx.sync.is_cancelled
        ctx.sync.progress(1)
        raise AssertionError

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [works], clock=clock) as one:
        (id_,) = await one.enqueue("works")
        one.wakes.note("default")
        await one.heard.expect(JobStarted)
        await clock.advance(5.1)
        assert one.slots.free == one.slots.total - 1
        go.set()
        row = (await one.ended(id_))[id_]
        assert row["last_error"] == "TimeoutError: still running after its time-out of 5 s"
        await one.written()
        assert one.slots.free == one.slots.total


async def test_a_thread_that_waits_for_the_runtime_is_woken_by_its_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain handler that waits in a method of its context ends as soon as its job is cancelled."""
    outcome: list[BaseException] = []
    monkeypatch.setattr(StepLog, "flush", _never)

    @job()
    def works(ctx: JobContext) -> None:
        try:
            ctx.sync.step("never recorded", int)
        except BaseException as error:
            outcome.append(error)
            raise

    async with job_database() as dsn, opened(dsn, [works]) as admin:
        async with engine(dsn, [works], drain=0.3) as one:
            (id_,) = await one.enqueue("works")
            await one.heard.expect(JobStarted)
        assert [type(error) for error in outcome] == [asyncio.CancelledError]
        assert (await live(admin, id_))["interruptions"] == 1


async def _never(steps: StepLog, link: object) -> None:
    await asyncio.Event().wait()


async def test_a_thread_that_has_not_begun_is_taken_back() -> None:
    """A plain handler that waits for a thread when it is cancelled is never called."""
    go = threading.Event()
    begun: list[int] = []

    @job()
    def works(args: int) -> None:
        begun.append(args)
        assert go.wait(LIMIT)

    async with job_database() as dsn, opened(dsn, [works]) as admin:
        async with engine(dsn, [works], drain=0.05, concurrency=4) as one:
            one.tasks.threads.most = 1
            ids = await one.enqueue("works", *range(4))
            await one.heard.expect(JobStarted, count=4)
            for run in one.tasks.runs:
                if run.row.args != "0":
                    one.tasks.cancel(run, Cancelled.STOP)
            await one.heard.expect(JobInterrupted, count=3)
            go.set()
        assert begun == [0]
        assert [(await live(admin, id_))["interruptions"] for id_ in ids[1:]] == [1, 1, 1]


async def test_a_stuck_thread_is_abandoned() -> None:
    """A plain handler that does not end after its cancel is reported with its stack, and the process is to end."""
    go = threading.Event()

    @job()
    def stuck() -> None:
        assert go.wait(LIMIT)

    async with job_database() as dsn, opened(dsn, [stuck]):
        async with engine(dsn, [stuck], drain=0.05, grace=0.05) as one:
            await one.enqueue("stuck")
            await one.heard.expect(JobStarted)
        (event,) = one.log.of(HandlerAbandoned)
        assert "in stuck" in event.stack
        assert one.log.of(ExitRequested)
        go.set()
        await one.tasks.idle.wait()
