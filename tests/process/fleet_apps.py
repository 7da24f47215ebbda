"""Applications whose processes are one fleet: with a singleton actor that leaves a trace of all that it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Never

import asyncpg

from supervisor import Actor, App, Child, JobContext, job

PID = os.getpid()
EFFECT = "INSERT INTO effects (fence, pid) VALUES ($1, $2)"


def say(text: str) -> None:
    """Tell the test something, on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@job()
async def note(ctx: JobContext) -> None:
    """Be done at once."""
    say(f"noted {ctx.id}")


@job()
async def hold(ctx: JobContext) -> None:
    """Go on, through every cancel, for longer than a test may last."""
    say(f"holding {ctx.id}")
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if ctx.lock_version > 1:
            return


class Tracker(Actor[Never]):
    """Has an effect every few milliseconds, in transactions that hold its fence, until one of them is refused.

    It does not ask whether its term is held, so that only the fence keeps it from doing what another one does.
    """

    async def setup(self) -> None:
        say(f"up {self.term.fence} held {self.term.is_held}")

    async def run(self) -> None:
        term = self.term
        connection = await asyncpg.connect(os.environ["EFFECTS_DSN"], timeout=10)
        try:
            while not self.stopping:
                async with connection.transaction():
                    await connection.execute("SELECT supervisor.hold_singleton($1, $2)", term.name, term.fence)
                    await connection.execute(EFFECT, term.fence, PID)
                await self.sleep(0.005)
        except asyncpg.PostgresError as error:
            say(f"refused {error.sqlstate} held {term.is_held}")
            await asyncio.Event().wait()
        finally:
            connection.terminate()

    async def teardown(self) -> None:
        say(f"down {self.term.fence}")


class Dawdler(Actor[Never]):
    """Has one effect, in a transaction that stays open for longer than a test may last."""

    async def run(self) -> None:
        connection = await asyncpg.connect(os.environ["EFFECTS_DSN"], timeout=10)
        try:
            async with connection.transaction():
                await connection.execute("SELECT supervisor.hold_singleton($1, $2)", self.term.name, self.term.fence)
                await connection.execute(EFFECT, self.term.fence, PID)
                say(f"inside {self.term.fence}")
                await self.sleep(60.0)
        finally:
            connection.terminate()


class Companion(Actor[object]):
    """Says when it goes up and down."""

    async def setup(self) -> None:
        say("companion up")

    async def teardown(self) -> None:
        say("companion down")


app = App(jobs=[note, hold])
tracked = App([Child("tracker", Tracker, singleton="rank-tracker")], jobs=[note, hold])
dawdling = App([Child("tracker", Dawdler, singleton="rank-tracker")], jobs=[note])
accompanied = App([Child("companion", Companion)], jobs=[note])
