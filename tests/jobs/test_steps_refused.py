"""Steps that are refused: results that would change, handlers that have changed, runs that are stale."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, InvalidPayload, LeaseLost, StepMismatch
from supervisor.jobs.events import JobFailed, JobStarted
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Retry
from tests.actors.engine import engine, job_database
from tests.jobs.stepping import STEPS, Calls, Order, effects

if TYPE_CHECKING:
    from supervisor.jobs.context import JobContext, StepMode


@pytest.mark.parametrize(
    ("value", "reason", "remedy"),
    [
        (Order(1), "Order comes back as a dict", "result=Order"),
        ((1, 2), "a tuple comes back as a list", "pass a list"),
        ({"at": {1, 2}}, "a set has no place in JSON", "pass a list"),
        (float("nan"), "nan has no place in JSON", "None"),
        ("a\0b", "NUL", "remove"),
        ({"n": 1e300}, "comes back as another int", "text"),
    ],
)
async def test_a_result_that_would_change_is_refused(value: object, reason: str, remedy: str) -> None:
    """A result that JSON cannot give back equal fails the job with an error that names the place and the remedy."""
    caught: list[InvalidPayload] = []

    @job(max_attempts=1)
    async def bad(ctx: JobContext) -> None:
        try:
            await ctx.step("it", Calls().give, value)
        except InvalidPayload as error:
            caught.append(error)
            raise

    async with job_database() as dsn, engine(dsn, [bad]) as one:
        await one.ended(*await one.enqueue("bad"))
        (error,) = caught
        assert error.path.startswith("result of step 'it'")
        assert reason in error.reason
        assert remedy in error.remedy
        assert await one.fetch(STEPS) == []


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (["a", "b"], ["b", "a"], "step 'b' is number 1 of this run, but an earlier run recorded it as number 2"),
        (["a", "b"], ["new", "b"], "step 'new' is number 1 of this run, but there an earlier run recorded 'a'"),
        (["a", "b"], ["b"], "step 'b' is number 1"),
        (["a"], ["a", "a"], "step 'a' is asked for twice"),
    ],
)
async def test_a_handler_that_has_changed_is_stopped(first: list[str], second: list[str], said: str) -> None:
    """A run that asks for other steps than an earlier one recorded fails before it calls anything."""
    calls, errors = Calls(), list[StepMismatch]()

    @job()
    async def changes(ctx: JobContext) -> None:
        try:
            for name in first if ctx.attempt == 1 else second:
                await ctx.step(name, calls.give, ctx.attempt)
        except StepMismatch as error:
            errors.append(error)
            raise
        if ctx.attempt == 1:
            raise Retry(0.0)

    async with job_database() as dsn, engine(dsn, [changes]) as one:
        await one.enqueue("changes")
        await one.log.expect(JobFailed, count=2)
        assert said in str(errors[0])
        assert 2 not in calls.made


@pytest.mark.parametrize("mode", ["idempotent", "at_most_once", "transactional"])
async def test_a_stale_run_records_nothing(mode: StepMode) -> None:
    """A step of a run whose job was given to somebody else is refused, and the handler is stopped."""
    gate, seen = asyncio.Event(), list[BaseException]()
    calls = Calls()

    @job()
    async def stale(ctx: JobContext) -> None:
        await gate.wait()
        try:
            if mode == "transactional":
                await ctx.step("late", calls.write, 1, mode=mode)
            else:
                await ctx.step("late", calls.give, 1, mode=mode)
        except LeaseLost as error:
            seen.append(error)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    async with job_database() as dsn, engine(dsn, [stale]) as one:
        await one.fetch("CREATE TABLE effects (what text)")
        await one.enqueue("stale")
        await one.heard.expect(JobStarted)
        await one.fetch("UPDATE supervisor.jobs SET lock_version = lock_version + 1")
        gate.set()
        await one.written()
        assert [type(error) for error in seen] == [LeaseLost, asyncio.CancelledError]
        assert len(calls.made) == (mode != "at_most_once")  # its intent was refused
        assert await one.fetch(STEPS) == []
        assert await effects(one) == []
        assert await one.value("SELECT lock_version FROM supervisor.jobs") == 2


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [("", "idempotent", "must be a text"), ("a\0", "idempotent", "without NUL"), ("a", "once", "must be one of")],
)
async def test_a_step_that_makes_no_sense_is_refused(name: str, mode: StepMode, said: str) -> None:
    """A name that cannot be stored, or an unknown mode, is refused before anything is called."""
    calls, errors = Calls(), list[ConfigError]()

    @job(max_attempts=1)
    async def bad(ctx: JobContext) -> None:
        try:
            await ctx.step(name, calls.give, 1, mode=mode)  # type: ignore[arg-type]  # one is no mode
        except ConfigError as error:
            errors.append(error)

    async with job_database() as dsn, engine(dsn, [bad]) as one:
        await one.ended(*await one.enqueue("bad"))
        assert said in str(errors[0])
        assert calls.made == []
