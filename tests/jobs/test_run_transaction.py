"""Transactions in which a job does its work and is completed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs.events import JobCompleted, JobFailed, JobFenced, JobInterrupted, JobStarted
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled
from supervisor.store import jobs
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
    fences: list[int] = []
    original = jobs.complete

    @job()
    async def doubtful(ctx: JobContext) -> None:
        fences.append(ctx.lock_version)
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO effects VALUES ($1)", "once")
            monkeypatch.setattr(jobs, "complete", complete if ctx.lock_version == 1 else original)

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
            await one.log.expect(JobInterrupted)  # what its database does is not the job's fault
            await one.again(id_)
        row = (await one.ended(id_))[id_]
        await one.written()
        assert (row["status"], row["attempts"]) == ("completed", 0)
        assert row["interruptions"] == (0 if committed else 1)
        assert await one.value(EFFECTS) == 1
        assert len(fences) == (1 if committed else 2)
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
