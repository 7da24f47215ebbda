"""An application whose jobs hold secrets and go wrong in every way that a worker has a word for."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from supervisor import App, JobContext, job


class Colour(enum.Enum):
    """One of a few, so that another text is a mistake."""

    RED = "red"


@dataclass(frozen=True)
class Secretive:
    """Arguments with a secret."""

    secret: str
    colour: Colour = Colour.RED
    count: int = 0


@job()
async def keep(args: Secretive) -> None:
    """Be done at once."""


@job(max_attempts=1)
async def fail(args: Secretive) -> None:
    """Fail, with the secret in a variable of the frame."""
    local = args.secret * 2
    raise ValueError(f"as always, {len(local)}")


@job(max_attempts=1, timeout=0.2)
async def dawdle(args: Secretive) -> None:
    """Take too long."""
    await asyncio.Event().wait()


@job(max_attempts=1)
def fail_in_a_thread(args: Secretive) -> None:
    """Fail in a thread."""
    raise KeyError(len(args.secret))


@job(max_attempts=1)
async def unstorable(args: Secretive, ctx: JobContext) -> None:
    """Have a step whose result cannot be stored."""

    async def odd() -> object:
        await asyncio.sleep(0)
        return [args.secret, object()]

    await ctx.step("odd", odd)


@job()
async def hold(args: Secretive) -> None:
    """Go on until the end."""
    await asyncio.Event().wait()


app = App(jobs=[keep, fail, dawdle, fail_in_a_thread, unstorable, hold])
