"""`run_job`: a handler runs in a test as it would in production, without a database."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

import pytest

from supervisor.errors import ConfigError, InvalidPayload, LeaseLost, StepMismatch, StepUnresolved
from supervisor.jobs.context import JobContext  # noqa: TC001 - `job` reads the annotations at run time
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Action, Discard, Retry, Snooze
from supervisor.testing import run_job
from tests.unit.made_job import handler


@dataclass(frozen=True)
class Order:
    number: int
    tags: tuple[str, ...] = ()


class Shop:
    """What the handlers of these tests act upon: calls are counted, and fail as often as they are told to."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[str] = []
        self.failures = failures

    async def charge(self, number: int) -> str:
        self.calls.append(f"charge {number}")
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the bank hung up")
        return f"receipt {number}"

    async def ship(self, number: int) -> None:
        self.calls.append(f"ship {number}")


shop = Shop()


@pytest.fixture(autouse=True)
def _shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "calls", [])
    monkeypatch.setattr(shop, "failures", 0)


@job(max_attempts=3)
async def order(args: Order, ctx: JobContext) -> None:
    """Charge and ship."""
    receipt = await ctx.step("charge", shop.charge, args.number)
    await ctx.progress(1, 2)
    assert receipt == f"receipt {args.number}"
    await ctx.step("ship", shop.ship, args.number)


async def test_a_handler_that_returns_has_completed_its_job() -> None:
    """The answer has the decision, the results of the steps and the last progress."""
    ran = await run_job(order, Order(7, ("gift",)))
    assert (ran.decision.action, ran.error, ran.attempt) == (Action.COMPLETE, None, 1)
    assert ran.steps == {"charge": "receipt 7", "ship": None}
    assert ran.progress == (1, 2)
    assert shop.calls == ["charge 7", "ship 7"]


async def test_the_next_attempt_finds_the_steps_of_the_one_before() -> None:
    """A failure is an attempt that is tried again, and what was done before it is not done twice."""
    shop.failures = 1
    first = await run_job(order, Order(7))
    assert first.decision.action is Action.RETRY
    assert 1.8 <= first.decision.delay <= 2.2
    assert isinstance(first.error, ConnectionError)
    assert first.decision.error == "ConnectionError: the bank hung up"
    second = await run_job(order, Order(7), after=first)
    third = await run_job(order, Order(7), after=second)
    assert [ran.attempt for ran in (first, second, third)] == [1, 2, 3]
    assert third.decision.action is Action.COMPLETE
    assert shop.calls == ["charge 7", "charge 7", "ship 7"]


async def test_the_last_attempt_fails() -> None:
    """With no attempt left the job has failed."""
    shop.failures = 9
    ran = await run_job(order, Order(7), attempt=3)
    assert ran.decision.action is Action.FAIL


@pytest.mark.parametrize(
    ("said", "action", "delay"),
    [
        (Retry(60.0), Action.RETRY, 60.0),
        (Snooze(3600.0), Action.SNOOZE, 3600.0),
        (Discard("gone"), Action.DISCARD, 0.0),
        (asyncio.CancelledError(), Action.RETRY, None),
    ],
)
async def test_what_a_handler_says_is_decided_on(said: BaseException, action: Action, delay: float | None) -> None:
    """The control exceptions mean what they mean in production, and a cancel of its own is a failure."""

    async def say(_ctx: JobContext) -> None:
        raise said

    ran = await handler(say)()
    assert ran.decision.action is action
    assert delay is None or ran.decision.delay == delay
    assert ran.error is said


async def test_the_context_is_that_of_the_run() -> None:
    """Who runs, for whom, and until when; the key is the same in each attempt."""
    seen: list[tuple[object, ...]] = []
    now = time.monotonic()

    async def look(ctx: JobContext) -> None:
        seen.append((ctx.id, ctx.attempt, ctx.tenant, ctx.idempotency_key("charge")))
        assert now + 60 <= ctx.deadline <= time.monotonic() + 60

    for attempt in (1, 2):
        await handler(look, timeout=60)(job_id=9, attempt=attempt, tenant="acme")
    assert [row[:3] for row in seen] == [(9, 1, "acme"), (9, 2, "acme")]
    assert seen[0][3] == seen[1][3]


async def test_a_handler_past_its_timeout_is_cancelled() -> None:
    """The time-out is real, and its decision is that of a failure; `extend` moves it."""

    async def hang(ctx: JobContext) -> None:
        if ctx.attempt == 2:
            await ctx.extend(0.001)
        await asyncio.Event().wait()

    for options in ({"within": 0.01}, {"attempt": 2}):
        ran = await handler(hang)(**options)
        assert ran.decision.action is Action.RETRY
        assert ran.decision.error is not None
        assert ran.decision.error.startswith("TimeoutError: still running after its time-out of")


async def test_the_cancel_of_the_test_passes() -> None:
    """A test that is cancelled itself does not get an answer about the job."""

    async def hang(_ctx: JobContext) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await handler(hang)()


async def test_arguments_make_the_way_through_json() -> None:
    """What could not be enqueued is refused before the handler runs, and types come back as declared."""
    with pytest.raises(InvalidPayload):
        await run_job(order, Order("seven"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"put @job\(\) above the function"):
        await run_job(order.function, Order(7))  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="attempt=0"):
        await run_job(order, Order(7), attempt=0)
    assert shop.calls == []


async def test_a_changed_handler_is_noticed() -> None:
    """Steps in another order than the one on record cannot be replayed, as in production."""

    async def there(ctx: JobContext) -> None:
        await ctx.step("charge", shop.charge, 1)
        raise Retry

    async def back(ctx: JobContext) -> None:
        await ctx.step("ship", shop.ship, 1)

    ran = await handler(back)(after=await handler(there)())
    assert isinstance(ran.error, StepMismatch)


async def test_a_step_at_most_once_is_not_run_again() -> None:
    """A step whose end nobody knows stops the next attempt."""

    async def careful(ctx: JobContext) -> None:
        await ctx.step("charge", shop.charge, 1, mode="at_most_once")

    shop.failures = 1
    first = await handler(careful)()
    assert first.steps == {}
    second = await handler(careful)(after=first)
    assert isinstance(second.error, StepUnresolved)
    assert shop.calls == ["charge 1"]


async def test_a_context_ends_with_its_run() -> None:
    """A handler that leaks its context cannot use it later."""
    kept: list[JobContext] = []

    async def leak(ctx: JobContext) -> None:
        kept.append(ctx)

    await handler(leak)()
    with pytest.raises(LeaseLost):
        await kept[0].progress(1)


@job()
def plain(args: Order, ctx: JobContext) -> None:
    """Run in a thread."""
    assert threading.current_thread() is not threading.main_thread()
    ctx.sync.extend(60.0)
    number = ctx.sync.step("double", lambda number: 2 * number, args.number)
    ctx.sync.progress(number, 10)
    if ctx.attempt == 1:
        ctx.sync.step("fail", int, "x")


async def test_a_plain_handler_runs_in_a_thread() -> None:
    """It has the same context, under `sync`."""
    first = await run_job(plain, Order(4))
    assert (first.decision.action, first.steps, first.progress) == (Action.RETRY, {"double": 8}, (8, 10))
    second = await run_job(plain, Order(4), after=first)
    assert (second.decision.action, second.steps) == (Action.COMPLETE, {"double": 8})
