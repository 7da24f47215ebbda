"""Steps: run once, remembered, and replayed by the next attempt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.jobs.events import JobBlocked, JobFailed
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Cancelled, Retry
from supervisor.store import steps
from tests.actors.engine import engine, job_database
from tests.jobs.stepping import STEPS, Calls, Order, effects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.context import Connection, JobContext, StepMode
    from supervisor.store.link import Link
    from supervisor.store.steps import NewStep


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
