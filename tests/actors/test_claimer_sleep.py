"""When the claimer sleeps, what wakes it, and when it does not want to be woken."""

from __future__ import annotations

import asyncio

from supervisor.jobs.events import JobStarted
from supervisor.jobs.job import job
from supervisor.store.wakeups import Wakeups
from tests.actors.engine import Engine, engine, job_database

SLEEPING = "SELECT idle_queues FROM supervisor.workers WHERE id = $1"


async def test_a_notification_starts_a_job() -> None:
    """An enqueue wakes a sleeping engine: its job starts although the next poll is an hour away."""

    @job()
    async def now() -> None: ...

    async with job_database() as dsn, engine(dsn, [now], poll=3600.0) as one:
        ears = await Wakeups.open(one.database, on_queue=one.wakes.note, on_cancel=one.tasks.cancel_job)
        await one.until(lambda: _sleeps(one))
        await one.ended(*await one.enqueue("now"))
        await one.ended(*await one.enqueue("now"))
        await ears.close()


async def test_it_polls_without_notifications() -> None:
    """A job is found although no notification arrives."""

    @job()
    async def found() -> None: ...

    async with job_database() as dsn, engine(dsn, [found], poll=0.02) as one:
        await one.until(lambda: _sleeps(one))
        await one.ended(*await one.enqueue("found"))


async def test_it_is_awake_while_jobs_keep_coming() -> None:
    """With a backlog it asks not to be notified, and asks for it again when the backlog is done."""
    gate = asyncio.Event()

    @job()
    async def wait(args: int) -> None:
        await gate.wait()

    async with job_database() as dsn, engine(dsn, [wait], concurrency=5) as one:
        await one.until(lambda: _sleeps(one))
        ids = await one.enqueue("wait", *range(20))
        one.wakes.note("default")
        await one.until(lambda: _awake(one))
        gate.set()
        await one.ended(*ids)
        await one.until(lambda: _sleeps(one))


async def test_a_full_engine_is_not_notified() -> None:
    """An engine whose slots are all taken by long jobs is not woken by enqueues."""
    gate = asyncio.Event()

    @job()
    async def hold(args: int) -> None:
        await gate.wait()

    async with job_database() as dsn, engine(dsn, [hold], concurrency=1) as one:
        await one.until(lambda: _sleeps(one))
        await one.enqueue("hold", 1)
        await one.heard.expect(JobStarted)
        await one.until(lambda: _awake(one))
        gate.set()


async def _sleeps(one: Engine) -> bool:
    return bool(await one.value(SLEEPING, one.lease.worker))


async def _awake(one: Engine) -> bool:
    return not await _sleeps(one)
