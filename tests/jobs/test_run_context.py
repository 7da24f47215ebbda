"""What a handler asks of its context: transactions, more time, progress, keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs.context import idempotency_key
from supervisor.jobs.events import JobCompleted, JobFailed, JobFenced, JobStarted
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled
from supervisor.store import jobs
from supervisor.testing import FakeClock
from tests.actors.engine import Engine, engine, job_database

if TYPE_CHECKING:
    from typing import Any

    from supervisor.jobs.context import JobContext
    from supervisor.store.link import Link

EFFECTS = "SELECT count(*) FROM effects"


async def table(one: Engine) -> None:
    """Make the table to which handlers write."""
    await one.fetch("CREATE TABLE effects (what text)")


async def test_writes_and_completion_commit_together() -> None:
    """After the block the job is completed, with what the handler wrote, and nothing is written again."""
    seen: list[int] = []

    @job()
    async def whole(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO effects VALUES ($1)", "done")
            seen.append(await one.value(EFFECTS))
        seen.append(await one.value(EFFECTS))
        assert await one.value("SELECT count(*) FROM supervisor.job_history") == 1
        with pytest.raises(LeaseLost):
            await ctx.progress(1)

    async with job_database() as dsn, engine(dsn, [whole]) as one:
        await table(one)
        (id_,) = await one.enqueue("whole")
        await one.heard.expect(JobCompleted)
        await one.written()
        assert (await one.past(id_))[id_]["status"] == "completed"
        assert seen == [0, 1]
        assert not one.log.of(JobFenced)
        assert not one.log.of(JobFailed)


async def test_an_error_in_the_block_takes_everything_back() -> None:
    """A handler that raises in its transaction has written nothing, and its job has failed."""

    @job(max_attempts=1)
    async def half(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO effects VALUES ($1)", "half")
            raise ValueError

    async with job_database() as dsn, engine(dsn, [half]) as one:
        await table(one)
        (id_,) = await one.enqueue("half")
        assert (await one.ended(id_))[id_]["status"] == "failed"
        assert await one.value(EFFECTS) == 0


async def test_an_error_after_the_block_changes_nothing() -> None:
    """A job that its transaction has completed stays completed, whatever its handler does then."""

    @job()
    async def late(ctx: JobContext) -> None:
        async with ctx.transaction():
            pass
        raise ValueError

    async with job_database() as dsn, engine(dsn, [late]) as one:
        (id_,) = await one.enqueue("late")
        await one.written()
        await one.heard.expect(JobCompleted)
        assert (await one.ended(id_))[id_]["status"] == "completed"
        assert not one.log.of(JobFailed)


@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_stale_run_commits_nothing(when: str) -> None:
    """A transaction of a run whose job is somebody else's raises LeaseLost and leaves nothing behind."""
    gate, inside = asyncio.Event(), asyncio.Event()
    errors: list[BaseException] = []

    @job()
    async def stale(ctx: JobContext) -> None:
        try:
            if when == "before":
                await gate.wait()
            async with ctx.transaction() as connection:
                await connection.execute("INSERT INTO effects VALUES ($1)", "stale")
                inside.set()
                await gate.wait()
        except LeaseLost as error:
            errors.append(error)
            raise

    async with job_database() as dsn, engine(dsn, [stale]) as one:
        await table(one)
        await one.enqueue("stale")
        await one.heard.expect(JobStarted)
        if when == "before":
            await one.fetch("UPDATE supervisor.jobs SET lock_version = lock_version + 1")
        else:
            await inside.wait()
            for run in one.tasks.runs:
                run.cancelled = Cancelled.LEASE_LOST  # as by a lease in doubt; the cancel is on its way
        gate.set()
        await one.written()
        assert len(errors) == 1
        assert await one.value(EFFECTS) == 0
        assert await one.value("SELECT count(*) FROM supervisor.jobs") == 1


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_without_an_answer_is_looked_up(committed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a commit happened whose answer was lost is read from the database: never guessed, never repeated."""
    attempts: list[int] = []
    original = jobs.complete

    @job()
    async def doubtful(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO effects VALUES ($1)", "once")
            monkeypatch.setattr(jobs, "complete", complete if ctx.attempt == 1 else original)

    async def complete(link: Link, *args: Any, **options: Any) -> set[int]:  # noqa: ANN401 - as the original
        written = await original(link, *args, **options)
        commit = link._call

        async def lost(call: Any, within: float) -> Any:  # noqa: ANN401 - as the original
            link._call = commit  # type: ignore[method-assign]
            if committed:
                await call()
            link.kill()
            return await commit(call, within)

        link._call = lost  # type: ignore[method-assign, assignment]
        return written

    async with job_database() as dsn, engine(dsn, [doubtful]) as one:
        await table(one)
        (id_,) = await one.enqueue("doubtful")
        if not committed:
            assert "DatabaseUnavailable" in (await one.log.expect(JobFailed)).error
            await one.again(id_)
        row = (await one.ended(id_))[id_]
        await one.written()
        assert (row["status"], row["attempts"]) == ("completed", 0 if committed else 1)
        assert await one.value(EFFECTS) == 1
        assert attempts == ([1] if committed else [1, 2])
        assert not one.log.of(JobFenced)


async def test_nothing_else_is_asked_for_inside_the_block() -> None:
    """Steps, progress and more time are refused inside the transaction, whose row they would wait for."""
    errors: list[ConfigError] = []

    @job()
    async def nested(ctx: JobContext) -> None:
        async def nothing() -> None: ...

        async with ctx.transaction():
            for asked in (ctx.step("s", nothing), ctx.progress(1), ctx.extend(5.0)):
                try:
                    await asked
                except ConfigError as error:
                    errors.append(error)
            try:
                async with ctx.transaction():
                    pass
            except ConfigError as error:
                errors.append(error)

    async with job_database() as dsn, engine(dsn, [nested]) as one:
        await one.ended(*await one.enqueue("nested"))
        assert len(errors) == 4


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


async def test_handlers_leave_connections_to_others() -> None:
    """However many handlers hold a transaction, those that end are still written."""
    gate = asyncio.Event()

    @job()
    async def holds(ctx: JobContext) -> None:
        async with ctx.transaction():
            await gate.wait()

    @job()
    async def quick(args: int) -> None: ...

    async with job_database() as dsn, engine(dsn, [holds, quick], concurrency=30) as one:
        held = [(await one.enqueue("holds"))[0] for _ in range(15)]
        await one.heard.expect(JobStarted, count=15)
        await one.ended(*await one.enqueue("quick", *range(50)))
        gate.set()
        assert {row["status"] for row in (await one.ended(*held)).values()} == {"completed"}
