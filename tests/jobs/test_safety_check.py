"""The safety check in code: a handler, a thread and a client get the answer that a claim would."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import LeaseLost
from supervisor.jobs.client import Client
from supervisor.jobs.job import job
from supervisor.store import control
from supervisor.store.control import Scope
from supervisor.testing import run_job
from tests.actors.engine import engine, job_database

if TYPE_CHECKING:
    from supervisor.jobs.context import JobContext
    from supervisor.store.control import SafetyCheck
    from tests.actors.engine import Engine


async def stop(one: Engine, scope: Scope, name: str | None, *, value: bool | str = True) -> None:
    """Turn something off."""
    async with one.database.connection() as link:
        await control.change_switch(link, scope, name, value, reason="on fire", actor="alice")


@pytest.mark.parametrize(
    ("scope", "name", "value", "reason"),
    [
        (Scope.KILL_SWITCH, None, True, "kill_switch"),
        (Scope.MODE, None, "observe_only", "mode:observe_only"),
        (Scope.MODE, None, "safe_mode", None),
        (Scope.SERVICE, "shop", True, "service:shop"),
        (Scope.SERVICE, "other", True, None),
        (Scope.TENANT, "acme", True, None),
        (Scope.QUEUE, "default", True, "queue:default"),
        (Scope.KIND, "work", True, "kind:work"),
    ],
)
async def test_a_handler_asks_about_its_own_work(
    scope: Scope, name: str | None, value: bool | str, reason: str | None
) -> None:
    """Without arguments the check is of the running job itself: its kind, queue, service, and what it may do."""
    began, changed = asyncio.Event(), asyncio.Event()
    answers: list[SafetyCheck] = []

    @job(service="shop", essential=True)
    async def work(ctx: JobContext) -> None:
        answers.append(await ctx.safety_check())
        began.set()
        await changed.wait()
        answers.append(await ctx.safety_check())

    async with job_database() as dsn, engine(dsn, [work]) as one:
        (number,) = await one.enqueue("work")
        await began.wait()
        await stop(one, scope, name, value=value)
        changed.set()
        await one.ended(number)
    before, after = answers
    assert (before.allowed, before.reason) == (True, None)
    assert (after.allowed, after.reason) == (reason is None, reason)


async def test_a_handler_asks_about_other_work() -> None:
    """A handler may ask for another service or tenant, and whether something that changes nothing may go on."""
    answers: list[str | None] = []

    @job()
    async def work(ctx: JobContext) -> None:
        checks = [
            await ctx.safety_check(service="bank"),
            await ctx.safety_check(tenant="acme"),
            await ctx.safety_check(requires_changes=True),
            await ctx.safety_check(),
        ]
        answers.extend(check.reason for check in checks)

    async with job_database() as dsn, engine(dsn, [work]) as one:
        await stop(one, Scope.SERVICE, "bank")
        await stop(one, Scope.TENANT, "acme")
        (number,) = await one.enqueue("work")
        await one.ended(number)
    assert answers == ["service:bank", "tenant:acme", None, None]


async def test_a_plain_handler_asks_from_its_thread() -> None:
    """A handler in a thread gets the same answer."""
    began, changed = threading.Event(), threading.Event()
    answers: list[str | None] = []

    @job()
    def work(ctx: JobContext) -> None:
        began.set()
        changed.wait(10)
        answers.append(ctx.sync.safety_check().reason)

    async with job_database() as dsn, engine(dsn, [work]) as one:
        (number,) = await one.enqueue("work")
        await asyncio.to_thread(began.wait, 10)
        await stop(one, Scope.KIND, "work")
        changed.set()
        await one.ended(number)
    assert answers == ["kind:work"]


async def test_a_client_asks() -> None:
    """A program that is no worker may ask before it does something itself."""
    async with job_database() as dsn, engine(dsn, []) as one, Client(dsn) as client:
        assert (await client.safety_check(service="shop", tenant="acme")).allowed
        await stop(one, Scope.TENANT, "acme")
        asked = await client.safety_check(service="shop", tenant="acme")
        assert (asked.allowed, asked.reason, asked.why, asked.actor) == (False, "tenant:acme", "on fire", "alice")
        assert (await client.safety_check(service="shop")).allowed


async def test_a_run_that_is_over_asks_nothing() -> None:
    """A context that outlives its job answers nothing any more."""
    kept: list[JobContext] = []

    @job()
    async def work(ctx: JobContext) -> None:
        kept.append(ctx)

    async with job_database() as dsn, engine(dsn, [work]) as one:
        (number,) = await one.enqueue("work")
        await one.ended(number)
        with pytest.raises(LeaseLost):
            await kept[0].safety_check()


@pytest.mark.parametrize("threaded", [False, True])
async def test_in_a_test_nothing_is_off(threaded: bool) -> None:
    """A handler that is run by run_job is allowed everything."""
    answers: list[SafetyCheck] = []

    @job()
    async def work(ctx: JobContext) -> None:
        answers.append(await ctx.safety_check(service="bank"))

    @job()
    def plain(ctx: JobContext) -> None:
        answers.append(ctx.sync.safety_check(service="bank"))

    done = await run_job(plain) if threaded else await run_job(work)
    assert done.error is None
    assert [answer.allowed for answer in answers] == [True]
