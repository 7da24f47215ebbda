"""The application under test: handlers of every sort, that put down in a ledger what they do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from asyncio import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor import App, JobContext, RetryPolicy, Snooze, job
from supervisor.jobs.events import JobEvent, JobFenced
from tests.soak.crash_points import VARIABLE, CrashPoints
from tests.soak.late_answers import LATE, hold_back
from tests.soak.ledger import FOLDER, Ledger
from tests.soak.pause import pause
from tests.soak.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.jobs.context import Connection

SOON: Final = RetryPolicy.fixed(0.2)

_ledger: Final = Ledger(Path(os.environ[FOLDER]))
_crash: Final = CrashPoints(_ledger, os.environ.get(VARIABLE, ""))
_crash.install()
hold_back(_ledger, os.environ.get(LATE, ""))
trace(_ledger)


@dataclass(frozen=True)
class Task:
    """token: which enqueue it came from. seconds: how long it takes. failures: how many attempts are to fail."""

    token: int
    seconds: float = 0.0
    failures: int = 0


@contextlib.contextmanager
def running(task: Task, ctx: JobContext) -> Iterator[None]:
    """Put down that a handler begins, and how it ends."""
    _ledger.write("began", ctx.id, ctx.lock_version, str(task.token))
    try:
        yield
    except (CancelledError, Exception) as error:
        _ledger.write("left", ctx.id, ctx.lock_version, type(error).__name__)
        raise
    else:
        _ledger.write("left", ctx.id, ctx.lock_version, "returned")


async def call(ctx: JobContext, name: str) -> str:
    """Place an order at the service outside."""
    key = ctx.idempotency_key(name)
    _ledger.write("called", ctx.id, ctx.lock_version, f"{name} {key}")
    _ledger.order(key)
    _crash.reach("after-effect")
    return key


async def book(connection: Connection, ctx: JobContext, name: str) -> None:
    """Have the effect in the database of the jobs."""
    await connection.execute(
        "INSERT INTO effects (job, name, fence) VALUES ($1, $2, $3)", ctx.id, name, ctx.lock_version
    )


def passed(ctx: JobContext, name: str) -> None:
    """Put down that a step is on record."""
    _ledger.write("passed", ctx.id, ctx.lock_version, name)


@job()
async def note(task: Task, ctx: JobContext) -> None:
    """Be done at once."""
    with running(task, ctx):
        _crash.reach("in-handler")


@job(max_attempts=4, retry=SOON)
async def linger(task: Task, ctx: JobContext) -> None:
    """Take some time."""
    with running(task, ctx):
        await pause(task.seconds / 2)
        _crash.reach("in-handler")
        await pause(task.seconds / 2)


@job(retry=SOON)
async def order(task: Task, ctx: JobContext) -> None:
    """Place two orders, each in a step."""
    with running(task, ctx):
        for name in ("reserve", "charge"):
            await ctx.step(name, call, ctx, name)
            passed(ctx, name)
            _crash.reach("after-step")
            await pause(task.seconds)


@job(retry=SOON)
async def ship(task: Task, ctx: JobContext) -> None:
    """Have an effect that must not happen twice, at a service that knows no keys."""
    with running(task, ctx):
        await pause(task.seconds)
        await ctx.step("ship", call, ctx, "ship", mode="at_most_once")
        passed(ctx, "ship")


@job(retry=SOON)
async def ledger(task: Task, ctx: JobContext) -> None:
    """Write to the database, in a step and together with the end of the job."""
    with running(task, ctx):
        await ctx.step("entry", book, ctx, "entry", mode="transactional")
        passed(ctx, "entry")
        await pause(task.seconds)
        async with ctx.transaction() as connection:
            await book(connection, ctx, "end")
            _crash.reach("in-transaction")


@job(max_attempts=1, retry=SOON)
async def entry(task: Task, ctx: JobContext) -> None:
    """Take some time over the transaction that ends the job."""
    with running(task, ctx):
        async with ctx.transaction() as connection:
            await book(connection, ctx, "entry")
            await pause(task.seconds)


@job(max_attempts=3, retry=SOON)
async def flaky(task: Task, ctx: JobContext) -> None:
    """Fail as often as it is told."""
    with running(task, ctx):
        await pause(task.seconds)
        if ctx.attempt <= task.failures:
            raise ValueError("as told")


@job(retry=SOON)
async def nap(task: Task, ctx: JobContext) -> None:
    """Ask to be run again, the first time."""
    with running(task, ctx):
        if ctx.lock_version == 1:
            raise Snooze(0.3)


@job(timeout=0.5, retry=SOON)
async def late(task: Task, ctx: JobContext) -> None:
    """Go on beyond the deadline in the first attempt."""
    with running(task, ctx):
        if ctx.attempt == 1:
            await asyncio.Event().wait()


@job(timeout=0.5, retry=SOON)
async def stubborn(task: Task, ctx: JobContext) -> None:
    """Ignore the cancel for a while."""
    with running(task, ctx):
        end = asyncio.get_running_loop().time() + task.seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(CancelledError):
                await pause(left)


@job(retry=SOON)
def crunch(task: Task, ctx: JobContext) -> None:
    """Work in a thread, with a step."""
    with running(task, ctx):
        threading.Event().wait(task.seconds)
        ctx.sync.step("crunch", call_in_thread, ctx, "crunch")
        passed(ctx, "crunch")


def call_in_thread(ctx: JobContext, name: str) -> str:
    """Place an order from a thread."""
    key = ctx.idempotency_key(name)
    _ledger.write("called", ctx.id, ctx.lock_version, f"{name} {key}")
    _ledger.order(key)
    return key


@job(timeout=0.5, retry=SOON)
def stuck(task: Task, ctx: JobContext) -> None:
    """Be deaf to every cancel, in the first run."""
    with running(task, ctx):
        if ctx.lock_version == 1:
            threading.Event().wait(task.seconds)


@job(retry=SOON)
async def block(task: Task, ctx: JobContext) -> None:
    """Keep the event loop from turning for longer than the lease."""
    with running(task, ctx):
        threading.Event().wait(task.seconds)


@job(retry=SOON)
async def poison(task: Task, ctx: JobContext) -> None:
    """End the process that runs it."""
    with running(task, ctx):
        _ledger.write("poisoned", ctx.id, ctx.lock_version)
        os._exit(9)


def tell(event: JobEvent) -> None:
    """Put down what was fenced out."""
    if isinstance(event, JobFenced):
        _ledger.write("fenced", event.job_id, event.lock_version)


app = App(
    jobs=[note, linger, order, ship, ledger, entry, flaky, nap, late, stubborn, crunch, stuck, block, poison],
    on_job=tell,
)
