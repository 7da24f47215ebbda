"""An actor that does what its messages say, so that a test reads as the story of one actor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.tree.actor import Actor
from supervisor.tree.monitor import Down

if TYPE_CHECKING:
    from typing import Any

    from supervisor.tree.refs import Reply

Act = Callable[["Puppet"], Awaitable[object]]
Answering = Callable[["Puppet", "Reply[object]"], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Do:
    """Do this."""

    act: Act


@dataclass(frozen=True, slots=True)
class Please:
    """Do this, and answer while at it."""

    reply: Reply[object]
    act: Answering


Told = Do | Please | Down | str
"""What a puppet understands."""


class Puppet(Actor[Told]):
    """Does what a message says; remembers the strings, and what it is told of others."""

    def __init__(self, heard: list[object] | None = None) -> None:
        self.heard: list[object] = [] if heard is None else heard

    async def handle(self, message: Told) -> None:
        match message:
            case Do(act):
                await act(self)
            case Please(reply, act):
                await act(self, reply)
            case _:
                self.heard.append(message)


async def echo(_: Puppet, reply: Reply[object]) -> None:
    """Answer with 'echo'."""
    reply.send("echo")


async def nothing(_: Puppet, _reply: Reply[object]) -> None:
    """Answer nothing."""


async def fail(_: Puppet, _reply: object = None) -> None:
    """Crash."""
    raise ValueError("on purpose")


async def pause(actor: Actor[Any], seconds: float) -> None:
    """Wait on the actor's clock without heed to a stop, as for a slow remote service."""
    over = asyncio.get_running_loop().create_future()
    timer = actor.clock.call_later(seconds, lambda: over.set_result(None))
    try:
        await over
    finally:
        timer.cancel()
