"""What handlers spend of limits: charged once for each job, settled, given back, and waited for without an attempt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.errors import ConfigError, DatabaseUnavailable
from supervisor.jobs.job import job
from supervisor.jobs.limited import LimitReached
from supervisor.jobs.outcomes import Retry
from supervisor.store import budgets
from supervisor.testing import run_job
from tests.actors.engine import engine, job_database
from tests.store.limiting import set_limit
from tests.store.sql_session import session

if TYPE_CHECKING:
    from supervisor.jobs.context import JobContext
    from tests.actors.engine import Engine


async def limited_engine_used(one: Engine, name: str = "money") -> tuple[float, float]:
    """Return what is used and reserved."""
    (row,) = await one.fetch("SELECT used, reserved FROM supervisor.limit_status($1)", name)
    return float(row[0]), float(row[1])


async def make(dsn: str, name: str = "money", **definition: object) -> None:
    """Make a limit of place call."""
    async with session(dsn) as opened:
        await set_limit(opened, name, **{"form": "budget", "amount": 10, "place": "call"} | definition)


async def test_a_block_settles_what_it_has_cost() -> None:
    """A block that says what it cost is charged that, one that does not the estimate, and one that fails nothing."""

    async def fail(ctx: JobContext) -> None:
        async with ctx.budget("money", 4) as spend:
            spend.settle(0.25)
            raise ZeroDivisionError

    @job(max_attempts=1)
    async def buy(ctx: JobContext) -> None:
        async with ctx.budget("money", 5) as spend:
            spend.settle(2.5)
        async with ctx.budget("money", 1):
            pass
        with pytest.raises(ZeroDivisionError):
            async with ctx.budget("money", 4):
                raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError):
            await fail(ctx)
        await ctx.spend("money", 0.25)

    async with job_database() as dsn:
        await make(dsn)
        async with engine(dsn, [buy]) as one:
            (id_,) = await one.enqueue("buy")
            assert (await one.ended(id_))[id_]["status"] == "completed"
            assert await limited_engine_used(one) == (4.0, 0.0)


async def test_a_plain_handler_spends_too() -> None:
    """The same from the thread of a plain handler."""

    @job(max_attempts=1)
    def buy(ctx: JobContext) -> None:
        with ctx.sync.budget("money", 5) as spend:
            spend.settle(2.5)
        with ctx.sync.budget("money", 1):
            pass
        with pytest.raises(ZeroDivisionError), ctx.sync.budget("money", 4):
            raise ZeroDivisionError
        ctx.sync.spend("money", 0.5)

    async with job_database() as dsn:
        await make(dsn)
        async with engine(dsn, [buy]) as one:
            (id_,) = await one.enqueue("buy")
            assert (await one.ended(id_))[id_]["status"] == "completed"
            assert await limited_engine_used(one) == (4.0, 0.0)


async def test_a_retry_is_not_charged_again() -> None:
    """What an attempt spent is not spent by the next, also where a finished step is not run again."""

    async def call(ctx: JobContext) -> None:
        await ctx.spend("money", 1)
        await ctx.spend("money", 1)

    @job()
    async def buy(ctx: JobContext) -> None:
        await ctx.spend("money", 1)
        await ctx.step("call", call, ctx)
        if ctx.attempt == 1:
            raise Retry(0.0)
        await ctx.spend("money", 1)
        await ctx.spend("money", 1, name="mine")
        await ctx.spend("money", 1, name="mine")

    async with job_database() as dsn:
        await make(dsn)
        async with engine(dsn, [buy]) as one:
            (id_,) = await one.enqueue("buy")
            assert (await one.ended(id_))[id_]["status"] == "completed"
            assert await limited_engine_used(one) == (5.0, 0.0)


async def test_who_finds_nothing_left_waits_without_an_attempt() -> None:
    """A job whose budget is spent is put to sleep until there may be more, and is told which limit it was."""
    heard: list[LimitReached] = []

    @job(max_attempts=1)
    async def buy(ctx: JobContext) -> None:
        try:
            await ctx.spend("money", 6)
        except LimitReached as reached:
            heard.append(reached)
            raise

    async with job_database() as dsn:
        await make(dsn, by=["kind"])
        async with engine(dsn, [buy]) as one:
            await one.enqueue("buy", {}, {})
            row = await _waiting(one)
            assert (row["reason"], row["attempts"]) == ("snoozed", 0)
            assert (heard[0].limit, heard[0].key) == ("money", "buy")
            assert str(heard[0]).startswith("limit money has nothing left for buy; there may be more in ")
            assert row["in_s"] == pytest.approx(heard[0].after, abs=30.0)


async def test_a_limit_that_is_not_there_is_a_mistake() -> None:
    """A misspelt limit, an impossible amount and more than there ever is are errors that say so."""
    errors: list[ConfigError] = []

    @job(max_attempts=1)
    async def buy(ctx: JobContext) -> None:
        for name, amount in (("monney", 1.0), ("money", float("nan")), ("money", 11.0)):
            try:
                await ctx.spend(name, amount)
            except ConfigError as error:
                errors.append(error)

    async with job_database() as dsn:
        await make(dsn)
        async with engine(dsn, [buy]) as one:
            (id_,) = await one.enqueue("buy")
            await one.ended(id_)
    assert "no limit of place call is named 'monney'; declare it" in str(errors[0])
    assert "amount=nan" in str(errors[1])
    assert "can never be had" in str(errors[2])


async def test_a_spent_budget_pauses_its_tenant() -> None:
    """Who spends the last of it pauses what the limit is for."""

    @job(max_attempts=1)
    async def buy(ctx: JobContext) -> None:
        async with ctx.budget("money", 10):
            pass

    async with job_database() as dsn:
        await make(dsn, on_spent="pause", service="default")
        async with engine(dsn, [buy]) as one:
            (id_,) = await one.enqueue("buy")
            await one.ended(id_)
            rows = await one.fetch("SELECT scope, name, actor FROM supervisor.switches")
            assert [tuple(row) for row in rows] == [("service", "default", "limit:money")]


@pytest.mark.parametrize("fallback", ["open", "closed"])
async def test_without_the_database_a_limit_is_open_or_closed(fallback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call goes through without the database only where the limit, when it was last asked, said so."""
    went: list[str] = []
    reserve = budgets.reserve

    async def cut(*_args: object, **_named: object) -> Any:  # noqa: ANN401 - raises
        raise DatabaseUnavailable("cut")

    @job(max_attempts=1)
    async def buy(ctx: JobContext) -> None:
        await ctx.spend("money", 1)
        monkeypatch.setattr(budgets, "reserve", cut)
        try:
            async with ctx.budget("money", 1) as spend:
                spend.settle(1)
            went.append("through")
        except DatabaseUnavailable:
            went.append("refused")
        finally:
            monkeypatch.setattr(budgets, "reserve", reserve)

    async with job_database() as dsn:
        await make(dsn, fallback=fallback)
        async with engine(dsn, [buy]) as one:
            (id_,) = await one.enqueue("buy")
            assert (await one.ended(id_))[id_]["status"] == "completed"
            assert went == ["through" if fallback == "open" else "refused"]
            assert await limited_engine_used(one) == (1.0, 0.0)


async def test_a_trial_has_enough_of_everything_and_counts_it() -> None:
    """In a test of a handler nothing is limited, and what it spent can be looked at."""

    @job()
    async def buy(ctx: JobContext) -> None:
        await ctx.spend("calls")
        await ctx.spend("calls", 2)
        async with ctx.budget("money", 5) as spend:
            spend.settle(3.5)

    @job()
    def plain(ctx: JobContext) -> None:
        ctx.sync.spend("calls")
        with ctx.sync.budget("money", 5):
            pass

    assert (await run_job(buy)).spent == {"calls": 3.0, "money": 3.5}
    assert (await run_job(plain)).spent == {"calls": 1.0, "money": 5.0}


async def _waiting(one: Engine) -> Any:  # noqa: ANN401 - a row
    call = (
        "SELECT reason, attempts, extract(epoch FROM due_at - clock_timestamp())::float8 AS in_s "
        "FROM supervisor.jobs_waiting"
    )
    async with asyncio.timeout(10.0):
        while True:
            rows = await one.fetch(call)
            if rows:
                return rows[0]
