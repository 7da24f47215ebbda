"""What a handler asks of its context: more time, progress, keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs.context import idempotency_key
from supervisor.jobs.events import JobStarted
from supervisor.jobs.job import job
from supervisor.testing import FakeClock
from tests.actors.engine import engine, job_database

if TYPE_CHECKING:
    from supervisor.jobs.context import JobContext


async def test_more_time() -> None:
    """An extended deadline holds here and in the database, and the handler is cancelled at the new one."""
    gate, cancelled = asyncio.Event(), list[float]()
    extended = asyncio.Event()

    @job(timeout=5.0)
    async def long(ctx: JobContext) -> None:
        before = ctx.deadline
        await ctx.extend(100.0)
        assert ctx.deadline > before + 90
        extended.set()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(clock.now())
            raise

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [long], clock=clock) as one:
        await one.enqueue("long")
        one.wakes.note("default")
        await extended.wait()
        left = "SELECT extract(epoch FROM deadline_at - clock_timestamp())::float8 FROM supervisor.jobs"
        assert 90 < await one.value(left) <= 100
        await clock.advance(99.0)
        assert cancelled == []
        await clock.advance(2.0)
        assert len(cancelled) == 1


async def test_a_shorter_time() -> None:
    """A deadline may also be brought forward."""
    extended, ended = asyncio.Event(), list[bool]()

    @job(timeout=500.0)
    async def short(ctx: JobContext) -> None:
        await ctx.extend(1.0)
        extended.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [short], clock=clock) as one:
        await one.enqueue("short")
        one.wakes.note("default")
        await extended.wait()
        await clock.advance(1.1)
        assert ended == [True]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), "5"])
async def test_a_time_that_makes_no_sense(seconds: float) -> None:
    """An impossible time is refused by name."""
    errors: list[str] = []

    @job()
    async def bad(ctx: JobContext) -> None:
        try:
            await ctx.extend(seconds)
        except ConfigError as error:
            errors.append(str(error))

    async with job_database() as dsn, engine(dsn, [bad]) as one:
        await one.ended(*await one.enqueue("bad"))
        assert "ctx.extend: seconds=" in errors[0]


async def test_more_time_for_a_lost_job() -> None:
    """To extend a job that is somebody else's raises LeaseLost."""
    gate, errors = asyncio.Event(), list[LeaseLost]()

    @job()
    async def stale(ctx: JobContext) -> None:
        await gate.wait()
        try:
            await ctx.extend(10.0)
        except LeaseLost as error:
            errors.append(error)
            raise

    async with job_database() as dsn, engine(dsn, [stale]) as one:
        await one.enqueue("stale")
        await one.heard.expect(JobStarted)
        await one.fetch("UPDATE supervisor.jobs SET lock_version = lock_version + 1")
        gate.set()
        await one.written()
        assert len(errors) == 1


async def test_progress_is_written_from_time_to_time() -> None:
    """Of what many jobs say within a second the last is written, together; and it goes when the job completes."""
    gate = asyncio.Event()

    @job()
    async def says(args: int, ctx: JobContext) -> None:
        for done in range(100):
            await ctx.progress(done, 100)
        await gate.wait()

    async with job_database() as dsn, engine(dsn, [says]) as one:
        ids = await one.enqueue("says", *range(5))

        async def there() -> bool:
            rows = await one.fetch("SELECT done, total FROM supervisor.job_progress")
            return [tuple(row) for row in rows] == [(99, 100)] * 5

        await one.until(there)
        gate.set()
        await one.ended(*ids)
        assert await one.value("SELECT count(*) FROM supervisor.job_progress") == 0


async def test_a_key_belongs_to_one_database() -> None:
    """The key of a step is the same in each attempt, and not the one that another database would give."""
    keys: list[str] = []

    @job()
    async def key(ctx: JobContext) -> None:
        keys.append(ctx.idempotency_key("pay"))

    async with job_database() as dsn, engine(dsn, [key]) as one:
        (id_,) = await one.enqueue("key")
        await one.ended(id_)
        assert keys == [idempotency_key(id_, "pay", namespace=one.database.installation)]
        assert keys != [idempotency_key(id_, "pay")]


async def test_a_context_is_of_no_use_after_its_handler() -> None:
    """What a handler left behind cannot act in its name any more."""
    kept: list[JobContext] = []

    @job()
    async def leaves(ctx: JobContext) -> None:
        kept.append(ctx)

    async def nothing() -> None: ...

    async with job_database() as dsn, engine(dsn, [leaves]) as one:
        await one.ended(*await one.enqueue("leaves"))
        (ctx,) = kept
        for late in (ctx.step("s", nothing), ctx.progress(1), ctx.extend(5.0)):
            with pytest.raises(LeaseLost):
                await late
        with pytest.raises(LeaseLost):
            async with ctx.transaction():
                pass
