"""Steps: run once, remembered, and replayed by the next attempt."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, InvalidPayload, LeaseLost, StepMismatch
from supervisor.jobs.events import JobBlocked, JobFailed, JobStarted
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled, Retry
from supervisor.store import steps
from tests.actors.engine import Engine, engine, job_database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.context import Connection, JobContext, StepMode
    from supervisor.store.link import Link
    from supervisor.store.steps import NewStep

STEPS = "SELECT name, place, done, result::text FROM supervisor.job_steps ORDER BY place"


@dataclass
class Order:
    number: int
    lines: tuple[str, ...] = ()


class Calls:
    """Functions for steps, which count their calls."""

    def __init__(self) -> None:
        self.made: list[object] = []

    async def give(self, value: object) -> object:
        """Return the argument."""
        self.made.append(value)
        return value

    async def write(self, connection: Connection, value: object) -> object:
        """Write the argument to the database."""
        self.made.append(value)
        await connection.execute("INSERT INTO effects VALUES ($1)", str(value))
        return value


async def effects(one: Engine) -> list[str]:
    """What is in the table to which steps write."""
    return [row[0] for row in await one.fetch("SELECT what FROM effects ORDER BY 1")]


@pytest.mark.parametrize("mode", ["idempotent", "at_most_once", "transactional"])
async def test_a_second_attempt_gets_the_results_of_the_first(mode: StepMode) -> None:
    """In every mode a step that has ended is not run again: its result is replayed, equal."""
    calls, results = Calls(), list[object]()
    value = {"id": 7, "parts": [1.5, None, True, "ü"], "big": 2**70}

    @job()
    async def ordered(ctx: JobContext) -> None:
        if mode == "transactional":
            results.append(await ctx.step("buy", calls.write, value, mode=mode))
        else:
            results.append(await ctx.step("buy", calls.give, value, mode=mode))
        if ctx.attempt == 1:
            raise Retry(0.0)

    async with job_database() as dsn, engine(dsn, [ordered]) as one:
        await one.fetch("CREATE TABLE effects (what text)")
        (id_,) = await one.enqueue("ordered")
        row = (await one.ended(id_))[id_]
        assert (row["status"], row["attempts"]) == ("completed", 1)
        assert calls.made == [value]
        assert results == [value, value]
        assert len(await effects(one)) == (mode == "transactional")
        assert await one.fetch(STEPS) == []


async def test_steps_are_recorded_in_order() -> None:
    """Each step is on record under its name, its place and its result while the job goes on."""
    gate, calls = asyncio.Event(), Calls()

    @job()
    async def three(ctx: JobContext) -> None:
        await ctx.step("a", calls.give, 1)
        await ctx.step("b", calls.give, None, mode="at_most_once")
        await ctx.step("c", calls.give, ["x"])
        gate.set()
        await asyncio.Event().wait()

    async with job_database() as dsn, engine(dsn, [three], drain=0.05) as one:
        await one.enqueue("three")
        await gate.wait()
        rows = [tuple(row) for row in await one.fetch(STEPS)]
        assert rows == [("a", 0, True, "1"), ("b", 1, True, "null"), ("c", 2, True, '["x"]')]


async def test_many_jobs_record_their_steps_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of jobs that run side by side share statements."""
    groups: list[int] = []
    original = steps.record

    async def record(link: Link, rows: Sequence[NewStep]) -> set[tuple[int, str]]:
        groups.append(len(rows))
        return await original(link, rows)

    monkeypatch.setattr(steps, "record", record)

    @job()
    async def stepped(args: int, ctx: JobContext) -> None:
        await ctx.step("only", Calls().give, args)

    async with job_database() as dsn, engine(dsn, [stepped], concurrency=100) as one:
        await one.ended(*await one.enqueue("stepped", *range(300)))
        assert sum(groups) == 300
        assert len(groups) < 100
        await one.written()
        assert await one.fetch(STEPS) == []


async def test_a_type_brings_back_what_json_cannot_say() -> None:
    """With `result` a dataclass comes back as itself, in the first run and in the second."""
    seen: list[Order] = []

    @job()
    async def typed(ctx: JobContext) -> None:
        async def order() -> Order:
            return Order(5, ("a", "b"))

        seen.append(await ctx.step("order", order, result=Order))
        if ctx.attempt == 1:
            raise Retry(0.0)

    async with job_database() as dsn, engine(dsn, [typed]) as one:
        await one.ended(*await one.enqueue("typed"))
        assert seen == [Order(5, ("a", "b"))] * 2


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


async def test_an_error_is_not_remembered() -> None:
    """A step that raises is run again, by the same attempt too if that tries it again."""
    calls: list[int] = []

    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError(len(calls))
        return 7

    @job()
    async def tries(ctx: JobContext) -> None:
        for chance in (1, 2):
            try:
                assert await ctx.step("flaky", flaky) == 7
            except ValueError:
                if chance == 2:
                    raise
            else:
                break
        assert await ctx.step("after", Calls().give, 1) == 1

    async with job_database() as dsn, engine(dsn, [tries]) as one:
        (id_,) = await one.enqueue("tries")
        assert (await one.log.expect(JobFailed)).error == "ValueError: 2"
        await one.again(id_)
        assert (await one.ended(id_))[id_]["status"] == "completed"
        assert len(calls) == 3


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


async def test_steps_may_run_side_by_side() -> None:
    """Steps that are asked for together keep the places of their calls, whichever ends first."""
    order: list[str] = []
    first = asyncio.Event()

    async def slow() -> str:
        await first.wait()
        order.append("slow")
        return "s"

    async def quick() -> str:
        order.append("quick")
        first.set()
        return "q"

    @job()
    async def both(ctx: JobContext) -> None:
        assert list(await asyncio.gather(ctx.step("slow", slow), ctx.step("quick", quick))) == ["s", "q"]
        if ctx.attempt == 1:
            raise Retry(0.0)

    async with job_database() as dsn, engine(dsn, [both]) as one:
        await one.ended(*await one.enqueue("both"))
        assert order == ["quick", "slow"]


async def test_an_effect_without_a_record_is_made_again_if_that_is_harmless() -> None:
    """After a kill between effect and record an idempotent step is run again, with the same key."""
    keys: list[str] = []

    @job()
    async def pays(ctx: JobContext) -> None:
        async def pay() -> str:
            keys.append(ctx.idempotency_key("pay"))
            if len(keys) == 1:
                for run in one.tasks.runs:
                    one.tasks.cancel(run, Cancelled.STOP)
                await asyncio.Event().wait()
            return "paid"

        assert await ctx.step("pay", pay) == "paid"

    async with job_database() as dsn, engine(dsn, [pays]) as one:
        (id_,) = await one.enqueue("pays")
        row = (await one.ended(id_))[id_]
        assert (row["interruptions"], row["attempts"]) == (1, 0)
        assert len(keys) == 2
        assert keys[0] == keys[1]


@pytest.mark.parametrize("again", [False, True])
async def test_an_unknown_outcome_waits_for_a_person(again: bool) -> None:
    """After a kill in the middle of an at_most_once step the job is parked, and goes on as a person says."""
    calls: list[int] = []
    results: list[object] = []

    @job()
    async def pays(ctx: JobContext) -> None:
        async def pay() -> int:
            calls.append(1)
            if len(calls) == 1:
                for run in one.tasks.runs:
                    one.tasks.cancel(run, Cancelled.STOP)
                await asyncio.Event().wait()
            return 7

        results.append(await ctx.step("pay", pay, mode="at_most_once"))

    async with job_database() as dsn, engine(dsn, [pays]) as one:
        (id_,) = await one.enqueue("pays")
        event = await one.log.expect(JobBlocked)
        assert "step 'pay' was begun by an earlier run" in event.error

        async def parked() -> bool:
            sql = "SELECT count(*) FROM supervisor.jobs_waiting WHERE id = $1 AND reason = 'blocked' AND attempts = 0"
            return bool(await one.value(sql, id_))

        await one.until(parked)
        assert calls == [1]
        async with one.database.connection() as link:
            assert await steps.resolve(link, id_, "pay", result=None if again else "3", again=again)
        one.wakes.note("default")
        assert (await one.ended(id_))[id_]["status"] == "completed"
        assert (len(calls), results) == ((2, [7]) if again else (1, [3]))


async def test_a_transactional_step_leaves_nothing_when_it_fails() -> None:
    """What a transactional step wrote before it raised is not there, nor is the step."""

    @job(max_attempts=1)
    async def half(ctx: JobContext) -> None:
        async def write(connection: Connection) -> None:
            await connection.execute("INSERT INTO effects VALUES ('half')")
            raise ValueError

        await ctx.step("half", write, mode="transactional")

    async with job_database() as dsn, engine(dsn, [half]) as one:
        await one.fetch("CREATE TABLE effects (what text)")
        await one.ended(*await one.enqueue("half"))
        assert await effects(one) == []
        assert await one.fetch(STEPS) == []


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
