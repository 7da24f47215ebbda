"""Handlers that are cancelled: by a stop, a lost lease, a cancelled job; and those that do not heed it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.jobs.events import HandlerAbandoned, JobCompleted, JobFenced, JobInterrupted, JobStarted, LeaseInDoubt
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled
from supervisor.store import jobs
from supervisor.store.wakeups import Wakeups
from supervisor.testing import FakeClock
from supervisor.tree.events import ExitRequested
from tests.actors.engine import Engine, engine, job_database, opened

if TYPE_CHECKING:
    from typing import Any

    from supervisor.jobs.context import JobContext


class Gate:
    """Handlers that wait, until they are let go or cancelled."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.cancelled: list[int] = []

    async def wait(self, ctx: JobContext) -> None:
        """Wait as the handler of a job."""
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(ctx.id)
            raise


async def live(one: Engine, id_: int) -> Any:  # noqa: ANN401 - a row
    """Return the row of a live job."""
    (row,) = await one.fetch("SELECT * FROM supervisor.jobs WHERE id = $1", id_)
    return row


async def test_a_stop_waits_for_handlers() -> None:
    """What ends within the stop's time is completed, and nothing is interrupted."""
    gate = Gate()

    @job()
    async def wait(ctx: JobContext) -> None:
        await gate.wait(ctx)

    async with job_database() as dsn, opened(dsn, [wait]) as admin:
        async with engine(dsn, [wait]) as one:
            (id_,) = await one.enqueue("wait")
            await one.heard.expect(JobStarted)
            one.tree.stop()
            asyncio.get_running_loop().call_soon(gate.open.set)
        assert (await admin.past(id_))[id_]["status"] == "completed"


async def test_a_stop_interrupts_at_no_cost() -> None:
    """What outlasts the stop's time is cancelled and handed back at once, without an attempt."""
    gate = Gate()

    @job()
    async def wait(ctx: JobContext) -> None:
        await gate.wait(ctx)

    async with job_database() as dsn, opened(dsn, [wait]) as admin:
        async with engine(dsn, [wait], drain=0.05) as one:
            (id_,) = await one.enqueue("wait")
            await one.heard.expect(JobStarted)
        row = await live(admin, id_)
        assert gate.cancelled == [id_]
        assert (row["claimed_by"], row["attempts"], row["interruptions"], row["lock_version"]) == (None, 0, 1, 2)
        assert one.heard.of(JobInterrupted)
        assert not one.log.of(ExitRequested)


async def test_a_lease_in_doubt_cancels_everything_and_writes_nothing() -> None:
    """A process that cannot prove its lease stops its handlers, and leaves their jobs as they are."""
    gate = Gate()

    @job()
    async def wait(ctx: JobContext) -> None:
        await gate.wait(ctx)

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [wait], clock=clock) as one:
        ids = await one.enqueue("wait") + await one.enqueue("wait")
        one.wakes.note("default")
        await one.heard.expect(JobStarted, count=2)
        one.lease.lose()
        await clock.advance(1.1)
        assert (await one.log.expect(LeaseInDoubt)).running == 2
        await one.written()
        rows = [await live(one, id_) for id_ in ids]
        assert sorted(gate.cancelled) == sorted(ids)
        assert [(row["claimed_by"], row["lock_version"], row["attempts"]) for row in rows] == [
            (one.lease.worker, 1, 0)
        ] * 2
        assert len(one.log.of(LeaseInDoubt)) == 1
        assert one.slots.free == one.slots.total


async def test_a_cancelled_job_stops_at_once() -> None:
    """The handler of a job that a person cancels is cancelled by the notification."""
    gate = Gate()

    @job()
    async def wait(ctx: JobContext) -> None:
        await gate.wait(ctx)

    async with job_database() as dsn, engine(dsn, [wait]) as one:
        ears = await Wakeups.open(one.database, on_queue=one.wakes.note, on_cancel=one.tasks.cancel_job)
        id_, other = await one.enqueue("wait") + await one.enqueue("wait")
        await one.heard.expect(JobStarted, count=2)
        async with one.database.connection() as link:
            await jobs.cancel(link, [id_], "not needed")
        assert (await one.heard.expect(JobFenced)).job_id == id_
        assert gate.cancelled == [id_]
        row = (await one.ended(id_))[id_]
        assert (row["status"], row["attempts"]) == ("cancelled", 0)
        gate.open.set()
        await one.ended(other)
        await ears.close()


async def test_a_cancelled_job_stops_without_a_notification() -> None:
    """With the next heartbeat the engine finds that a job is no longer its own, and stops its handler."""
    gate = Gate()

    @job()
    async def wait(ctx: JobContext) -> None:
        await gate.wait(ctx)

    async with job_database() as dsn, engine(dsn, [wait], heartbeat=0.05) as one:
        id_, other = await one.enqueue("wait") + await one.enqueue("wait")
        await one.heard.expect(JobStarted, count=2)
        async with one.database.connection() as link:
            await jobs.cancel(link, [id_])
        await one.heard.expect(JobFenced)
        assert gate.cancelled == [id_]
        gate.open.set()
        await one.ended(other)


async def test_a_handler_that_ignores_its_cancel_is_abandoned() -> None:
    """Ten seconds after its cancel it is reported with its stack, nothing is written, and the process is to end."""
    release = asyncio.Event()

    @job(timeout=5.0)
    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [stubborn], clock=clock) as one:
        (id_,) = await one.enqueue("stubborn")
        one.wakes.note("default")
        await one.heard.expect(JobStarted)
        await clock.advance(5.1)
        assert not one.log.of(HandlerAbandoned)
        await clock.advance(10.1)
        event = await one.log.expect(HandlerAbandoned)
        assert (event.job_id, event.cancelled_for) == (id_, "timeout")
        assert "in test_a_handler_that_ignores" in event.stack
        assert [each.code for each in one.log.of(ExitRequested)] == [75]
        assert one.slots.free == one.slots.total - 1
        release.set()
        await one.written()
        row = await live(one, id_)
        assert (row["claimed_by"], row["lock_version"]) == (one.lease.worker, 1)
        assert not one.heard.of(JobCompleted)


async def test_a_stop_abandons_what_survives_it() -> None:
    """A handler that survives the cancel of a stop is given up: its job is not written, and counts as running."""
    release = asyncio.Event()

    @job()
    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with job_database() as dsn, opened(dsn, [stubborn]) as admin:
        async with engine(dsn, [stubborn], drain=0.05, grace=0.05) as one:
            (id_,) = await one.enqueue("stubborn")
            await one.heard.expect(JobStarted)
        assert one.log.of(HandlerAbandoned, cancelled_for="stop")
        assert [each.code for each in one.log.of(ExitRequested)] == [75]
        assert len(one.tasks) == 1
        release.set()
        await one.tasks.idle.wait()
        assert (await live(admin, id_))["claimed_by"] == one.lease.worker


async def test_a_crashed_executor_leaves_no_handler_behind() -> None:
    """When the executor is restarted, its handlers have been handed back, and run again."""
    gate, attempts = Gate(), list[tuple[int, int]]()

    @job()
    async def wait(ctx: JobContext) -> None:
        attempts.append((ctx.attempt, ctx.lock_version))
        await gate.wait(ctx)

    async with job_database() as dsn, engine(dsn, [wait], drain=0.05) as one:
        (id_,) = await one.enqueue("wait")
        await one.heard.expect(JobStarted)
        await one.root.restart_child("executor")
        await one.heard.expect(JobStarted, count=2)
        gate.open.set()
        await one.ended(id_)
        assert attempts == [(1, 1), (1, 3)]


@pytest.mark.parametrize("first", [Cancelled.TIMEOUT, Cancelled.STOP])
async def test_a_lost_lease_outweighs_every_other_reason(first: Cancelled) -> None:
    """A handler that was cancelled and then loses the lease writes nothing, and is cancelled once only."""
    gate = Gate()

    @job()
    async def wait(ctx: JobContext) -> None:
        await gate.wait(ctx)

    async with job_database() as dsn, engine(dsn, [wait]) as one:
        (id_,) = await one.enqueue("wait")
        await one.heard.expect(JobStarted)
        one.tasks.cancel_all(first)
        one.tasks.cancel_all(Cancelled.LEASE_LOST)
        await one.heard.expect(JobFenced)
        await one.written()
        assert (await live(one, id_))["claimed_by"] == one.lease.worker
        assert gate.cancelled == [id_]
