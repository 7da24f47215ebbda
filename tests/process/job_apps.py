"""Applications with jobs, for tests of whole processes; their handlers say on stdout what they do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from dataclasses import dataclass

from supervisor import App, JobContext, job


@dataclass(frozen=True)
class Wanted:
    """How long to work, in seconds."""

    seconds: float = 0.0


def say(what: str, ctx: JobContext) -> None:
    """Tell the test what a job does, and in which process."""
    sys.stdout.write(f"{what} {ctx.id} in {os.getpid()}\n")
    sys.stdout.flush()


@job()
async def note(ctx: JobContext) -> None:
    """Be done at once."""
    say("noted", ctx)


@job()
async def hold(ctx: JobContext) -> None:
    """Go on until cancelled, in a first run; be done at once in a later one."""
    if ctx.lock_version > 1:
        say("held again", ctx)
        return
    say("holding", ctx)
    try:
        await asyncio.Event().wait()
    finally:
        say("let go", ctx)


@job()
async def work(wanted: Wanted, ctx: JobContext) -> None:
    """Take some time."""
    say("working", ctx)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wanted.seconds):
            await asyncio.Event().wait()
    say("worked", ctx)


@job()
def block(wanted: Wanted, ctx: JobContext) -> None:
    """Do nothing in a thread for some time, which no cancel can end."""
    say("blocking", ctx)
    threading.Event().wait(wanted.seconds)


@job()
async def stop_the_loop(wanted: Wanted, ctx: JobContext) -> None:
    """Keep the event loop from turning for some time."""
    say("stopping", ctx)
    threading.Event().wait(wanted.seconds)
    say("stopped", ctx)


@job()
async def poison(ctx: JobContext) -> None:
    """End the process that runs it, without a word to anybody."""
    say("poisoning", ctx)
    os._exit(9)


@job(max_attempts=1)
async def fail(ctx: JobContext) -> None:
    """Fail."""
    say("failing", ctx)
    raise ValueError("as always")


app = App(jobs=[note, hold, work, block, stop_the_loop, poison, fail])
