"""What becomes of a job, by what its handler does."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.jobs.events import JobBlocked, JobDiscarded, JobFailed, JobSnoozed, JobStarted
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Discard, Retry, Snooze
from supervisor.jobs.retry import RetryPolicy
from supervisor.store import jobs
from supervisor.testing import FakeClock
from supervisor.tree.refs import RUNNING
from tests.actors.engine import Engine, engine, job_database

if TYPE_CHECKING:
    from typing import Any

    from supervisor.jobs.context import JobContext

WAITING = "SELECT *, extract(epoch FROM due_at - clock_timestamp())::float8 AS delay FROM supervisor.jobs_waiting"


async def waiting(one: Engine, id_: int) -> Any:  # noqa: ANN401 - a row
    """Wait until a job is parked, and return its row."""

    async def parked() -> bool:
        return bool(await one.fetch(f"{WAITING} WHERE id = $1", id_))

    await one.until(parked)
    (row,) = await one.fetch(f"{WAITING} WHERE id = $1", id_)
    return row


async def test_a_success_is_in_the_history() -> None:
    """A handler that returns has completed its job, with what it was told of the run."""
    seen: list[JobContext] = []

    @job()
    async def good(args: dict[str, int], ctx: JobContext) -> None:
        assert args == {"n": 5}
        seen.append(ctx)

    async with job_database() as dsn, engine(dsn, [good]) as one:
        (id_,) = await one.enqueue("good", {"n": 5})
        row = (await one.ended(id_))[id_]
        (ctx,) = seen
        assert (row["status"], row["attempts"], row["last_error"]) == ("completed", 0, None)
        assert (ctx.id, ctx.attempt, ctx.lock_version, ctx.tenant) == (id_, 1, 1, None)


async def test_a_failure_is_tried_again_and_then_has_failed() -> None:
    """Each failure costs an attempt; the last one leaves the error and its traceback with the job."""
    attempts: list[int] = []

    @job(max_attempts=3, retry=RetryPolicy.fixed(0.001))
    async def bad(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        raise ValueError(f"no. {ctx.attempt}")

    async with job_database() as dsn, engine(dsn, [bad]) as one:
        (id_,) = await one.enqueue("bad")
        await one.until(lambda: _promoted(one, id_))
        row = (await one.past(id_))[id_]
        assert (row["status"], row["attempts"], row["last_error"]) == ("failed", 3, "ValueError: no. 3")
        assert "in bad" in row["traceback"]
        assert attempts == [1, 2, 3]
        told = [(event.attempt, event.error, event.retry_in is None) for event in one.log.of(JobFailed, job_id=id_)]
        assert told == [
            (1, "ValueError: no. 1", False),
            (2, "ValueError: no. 2", False),
            (3, "ValueError: no. 3", True),
        ]


async def _promoted(one: Engine, id_: int) -> bool:
    async with one.database.connection() as link:
        await jobs.promote(link, 10)
    one.wakes.note("default")
    return bool(await one.past(id_))


async def test_a_timeout_is_a_failure() -> None:
    """A handler that is past its deadline is cancelled, and its job runs again after the delay of its policy."""
    ended: list[BaseException] = []

    @job(timeout=30.0)
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended.append(error)
            raise

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [slow], clock=clock) as one:
        (id_,) = await one.enqueue("slow")
        one.wakes.note("default")
        await one.heard.expect(JobStarted)
        await clock.advance(29.9)
        assert ended == []
        await clock.advance(0.2)
        row = await waiting(one, id_)
        assert len(ended) == 1
        assert (row["reason"], row["attempts"]) == ("retry", 1)
        assert row["last_error"] == "TimeoutError: still running after its time-out of 30 s"
        assert 1.5 < row["delay"] < 2.3


async def test_the_delay_doubles() -> None:
    """After the n-th failure the job waits 2·2ⁿ⁻¹ seconds, give or take a tenth."""

    @job(max_attempts=9)
    async def bad() -> None:
        raise ValueError

    async with job_database() as dsn, engine(dsn, [bad]) as one:
        (id_,) = await one.enqueue("bad")
        for attempt in range(1, 6):
            event = await one.log.expect(JobFailed, attempt=attempt)
            assert event.retry_in == pytest.approx(2.0 * 2 ** (attempt - 1), rel=0.1)
            await waiting(one, id_)
            await one.fetch("UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp()")
            await _promoted(one, id_)


@pytest.mark.parametrize(
    ("says", "reason", "attempts", "delay"),
    [(Retry(60.0, "later"), "retry", 1, 60.0), (Snooze(30.0), "snoozed", 0, 30.0)],
)
async def test_what_a_handler_asks_for(says: Exception, reason: str, attempts: int, delay: float) -> None:
    """A handler may ask to be run again, at the cost of an attempt or for nothing."""

    @job()
    async def asks() -> None:
        raise says

    async with job_database() as dsn, engine(dsn, [asks]) as one:
        (id_,) = await one.enqueue("asks")
        row = await waiting(one, id_)
        assert (row["reason"], row["attempts"]) == (reason, attempts)
        assert delay - 5 < row["delay"] <= delay
        assert len(one.log.of(JobSnoozed)) == (reason == "snoozed")


async def test_a_discarded_job_is_over() -> None:
    """A handler may end its job as pointless; the reason is kept."""

    @job()
    async def pointless() -> None:
        raise Discard("the order was cancelled")

    async with job_database() as dsn, engine(dsn, [pointless]) as one:
        (id_,) = await one.enqueue("pointless")
        row = (await one.ended(id_))[id_]
        assert (row["status"], row["attempts"]) == ("discarded", 0)
        assert row["last_error"] == "Discard: the order was cancelled"
        assert one.log.of(JobDiscarded)
        assert not one.log.of(JobBlocked)


async def test_arguments_that_do_not_fit_fail_the_job() -> None:
    """A payload that the handler cannot take is a failure that names the place, and the handler is not called."""

    @job(max_attempts=1)
    async def strict(args: dict[str, int]) -> None:
        raise AssertionError

    async with job_database() as dsn, engine(dsn, [strict]) as one:
        (id_,) = await one.enqueue("strict", {"n": "five"})
        row = (await one.ended(id_))[id_]
        assert row["status"] == "failed"
        assert "InvalidPayload" in row["last_error"]
        assert "args" in row["last_error"]


@pytest.mark.parametrize("thread", [False, True])
async def test_a_handler_that_exits_fails_its_job_only(thread: bool) -> None:
    """A handler that calls sys.exit does not take the process down."""

    @job(max_attempts=1)
    async def leaves() -> None:
        sys.exit(3)

    @job(kind="leaves", max_attempts=1)
    def leaves_thread() -> None:
        sys.exit(3)

    async with job_database() as dsn, engine(dsn, [leaves_thread if thread else leaves]) as one:
        (id_,) = await one.enqueue("leaves")
        row = (await one.ended(id_))[id_]
        assert (row["status"], row["last_error"]) == ("failed", "SystemExit: 3")


async def test_a_cancel_by_others_is_a_failure() -> None:
    """A handler that other code cancels, even before its first step, has failed and frees its slot."""

    @job(max_attempts=1)
    async def victim() -> None:
        await asyncio.Event().wait()

    async with job_database() as dsn, engine(dsn, [victim], heartbeat=0.05) as one:
        started, begin = [], one.tasks.start

        def start(rows: Any, sent: float) -> None:  # noqa: ANN401 - as the original
            begin(rows, sent)
            for run in one.tasks.runs:
                assert run.task is not None
                run.task.cancel()
                started.append(run)

        one.tasks.start = start  # type: ignore[method-assign]
        (id_,) = await one.enqueue("victim")
        row = (await one.ended(id_))[id_]
        assert "cancelled by code other than the runtime" in row["last_error"]
        await one.written()
        assert one.slots.free == one.slots.total


async def test_a_handler_asks_in_nobodys_name() -> None:
    """What a handler asks of actors is not taken for the claimer's own question."""
    seen: list[object] = []

    @job()
    async def looks() -> None:
        seen.append(RUNNING.get())

    async with job_database() as dsn, engine(dsn, [looks]) as one:
        await one.ended(*await one.enqueue("looks"))
        assert seen == [None]


async def test_handlers_share_no_context_variables() -> None:
    """What one handler sets in a context variable, no other sees."""
    from contextvars import ContextVar  # noqa: PLC0415

    mark: ContextVar[int] = ContextVar("mark", default=0)
    seen: list[int] = []

    @job()
    async def on_loop() -> None:
        seen.append(mark.get())
        mark.set(1)

    @job()
    def in_thread() -> None:
        seen.append(mark.get())
        mark.set(1)

    async with job_database() as dsn, engine(dsn, [on_loop, in_thread], threads=1, concurrency=4) as one:
        for _ in range(2):
            await one.ended(*await one.enqueue("on_loop"), *await one.enqueue("in_thread"))
        assert seen == [0] * 4
