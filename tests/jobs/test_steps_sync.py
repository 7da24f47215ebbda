"""Steps of plain handlers, in their threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs.events import JobBlocked
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled, Retry
from tests.actors.engine import engine, job_database

if TYPE_CHECKING:
    from supervisor.jobs.context import JobContext


async def test_a_plain_handler_has_steps() -> None:
    """A step of a plain handler runs in its thread, once, and the second attempt gets its result."""
    threads: list[int] = []
    results: list[int] = []

    def work(number: int) -> int:
        threads.append(threading.get_ident())
        return number * 2

    @job()
    def plain(ctx: JobContext) -> None:
        results.append(ctx.sync.step("work", work, 21))
        ctx.sync.progress(1, 2)
        ctx.sync.extend(60.0)
        if ctx.attempt == 1:
            raise Retry(0.0)

    async with job_database() as dsn, engine(dsn, [plain]) as one:
        (id_,) = await one.enqueue("plain")
        assert (await one.ended(id_))[id_]["status"] == "completed"
        assert results == [42, 42]
        assert len(threads) == 1
        assert threads[0] != threading.get_ident()


async def test_a_failed_step_of_a_plain_handler_may_be_tried_again() -> None:
    """A step that raises in a thread is not remembered, and the handler may try it again."""
    calls: list[int] = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return 7

    @job()
    def plain(ctx: JobContext) -> None:
        try:
            ctx.sync.step("flaky", flaky)
        except ValueError:
            assert ctx.sync.step("flaky", flaky) == 7

    async with job_database() as dsn, engine(dsn, [plain]) as one:
        (id_,) = await one.enqueue("plain")
        assert (await one.ended(id_))[id_]["status"] == "completed"


async def test_an_unknown_outcome_in_a_thread_waits_for_a_person() -> None:
    """A plain handler that ends in the middle of an at_most_once step has its job parked by the next run."""

    @job()
    def plain(ctx: JobContext) -> None:
        def pay() -> None:
            raise Retry(0.0)

        ctx.sync.step("pay", pay, mode="at_most_once")

    async with job_database() as dsn, engine(dsn, [plain]) as one:
        await one.enqueue("plain")
        assert (await one.log.expect(JobBlocked)).attempt == 2


async def test_what_a_thread_cannot_do_is_refused() -> None:
    """A transactional step, and a call from the event loop, are refused with the remedy."""
    errors: list[str] = []

    @job()
    def plain(ctx: JobContext) -> None:
        try:
            ctx.sync.step("it", int, mode="transactional")  # type: ignore[arg-type]  # on purpose
        except ConfigError as error:
            errors.append(str(error))

    @job()
    async def on_loop(ctx: JobContext) -> None:
        try:
            ctx.sync.step("it", int)
        except ConfigError as error:
            errors.append(str(error))

    async with job_database() as dsn, engine(dsn, [plain, on_loop]) as one:
        await one.ended(*await one.enqueue("plain"), *await one.enqueue("on_loop"))
        assert sorted(errors) == [
            "ctx.sync is for plain `def` handlers; an `async def` awaits the methods of ctx itself",
            "step 'it': mode='transactional': in a thread it is idempotent or at_most_once",
        ]


async def test_a_context_is_of_no_use_after_its_handler() -> None:
    """A thread that a handler left behind cannot act in its name any more."""
    kept: list[JobContext] = []

    @job()
    def plain(ctx: JobContext) -> None:
        kept.append(ctx)

    async with job_database() as dsn, engine(dsn, [plain]) as one:
        await one.ended(*await one.enqueue("plain"))
        with pytest.raises(LeaseLost):
            kept[0].sync.step("late", int)
        assert kept[0].sync.is_cancelled
        one.tasks.cancel_all(Cancelled.STOP)
