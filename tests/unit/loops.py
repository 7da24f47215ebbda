"""Actors that run the loop a test gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Never

from supervisor.testing import EventLog, FakeClock, running
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.events import ChildExited
from supervisor.tree.outcome import Shutdown, Stage

if TYPE_CHECKING:
    from supervisor.tree.signal import Signal

Body = Callable[["Loop"], Awaitable[object]]


class Loop(Actor[Never]):
    """Runs what the test gives it; most give it a loop over `every`."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def run(self) -> None:
        await self.body(self)


def loop(body: Body) -> Child[Never]:
    """Declare an actor with this loop."""
    return Child("loop", lambda: Loop(body))


def ticking(  # noqa: PLR0913 - one place for what tests vary
    times: list[float],
    seconds: float,
    *,
    work: float = 0,
    jitter: float = 0,
    spread: float = 0,
    wake: Signal | None = None,
) -> Child[Never]:
    """Declare an actor that ticks, notes the seconds since its start, and works for a while."""

    async def body(actor: Loop) -> None:
        began = actor.clock.now()
        async for _ in actor.every(seconds, jitter=jitter, spread=spread, wake=wake):
            times.append(actor.clock.now() - began)
            if work:
                await actor.sleep(work)

    return loop(body)


async def stops_while_draining(child: Child[Never], clock: FakeClock, seconds: float) -> bool:
    """Run the child for a while, stop it, and say whether it ended without a cancel."""
    log = EventLog()
    async with running(child, clock=clock, log=log):
        await clock.advance(seconds)
    (exited,) = log.of(ChildExited, name=child.name)
    return exited.outcome == Shutdown(Stage.DRAINING)
