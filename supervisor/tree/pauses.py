"""The waits and timers of one incarnation: a request to stop ends the waits, its end cancels the timers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from supervisor.tree.clock import NEVER
from supervisor.tree.events import DeadLetterReason
from supervisor.tree.mailbox import OwnTimer, resolve

if TYPE_CHECKING:
    from supervisor.tree.clock import Timer
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.signal import Signal


class Pauses:
    """Made when an actor first sleeps, ticks or sets a timer; most that only handle messages never do."""

    __slots__ = ("_life", "_roused", "_sleepers", "_timers")

    def __init__(self, life: Incarnation) -> None:
        self._life = life
        self._roused = False
        self._sleepers: set[asyncio.Future[None]] = set()
        self._timers: set[Timer] = set()

    async def sleep(self, seconds: float, wake: Signal | None) -> bool:
        """See `Actor.sleep`; tell whether it was `wake` that ended it."""
        life = self._life
        if life.stage is not None and not self._roused:
            self._roused = True
            await asyncio.sleep(0)
            return False
        waiter = asyncio.get_running_loop().create_future()
        timer = life.runtime.clock.call_later(max(0.0, seconds), partial(resolve, waiter))
        if wake is not None:
            wake.attach(waiter)
        # A pause of a subtask says nothing about the actor's own progress.
        inbox = life.inbox if asyncio.current_task() is life.task else None
        if inbox is not None:
            inbox.asleep = True
        try:
            await self.until(waiter)
            woken = bool(wake)
            if wake is not None:
                wake.clear()
        finally:
            timer.cancel()
            if wake is not None:
                wake.detach(waiter)
            if inbox is not None:
                inbox.asleep = False
                inbox.stamp = life.runtime.clock.now()
        return woken

    async def until(self, waiter: asyncio.Future[None]) -> None:
        """Wait for `waiter`, or for a request to stop, which resolves it."""
        self._sleepers.add(waiter)
        try:
            await waiter
        finally:
            self._sleepers.discard(waiter)

    def after(self, seconds: float, message: object) -> Timer:
        """See `Actor.after`."""
        if self._life.outcome is not None:
            self._life.runtime.bury(self._life.path, message, DeadLetterReason.CLOSED)
            return NEVER
        timer = _After(self, message)
        timer.handle = self._life.runtime.clock.call_later(max(0.0, seconds), timer.fire)
        self._timers.add(timer)
        return timer

    def deliver(self, timer: _After, message: object) -> None:
        """Hand the message of a timer to the actor, unless that is stopping."""
        self._timers.discard(timer)
        life = self._life
        if life.stage is None:
            # Beyond the bound if need be: an actor cannot make room for its own timer by waiting.
            life.node.mailbox.deliver(OwnTimer(message, life))
        else:
            life.runtime.bury(life.path, message, DeadLetterReason.CLOSED)

    def forget(self, timer: Timer) -> None:
        """The actor took this timer back."""
        self._timers.discard(timer)

    def rouse(self) -> None:
        """End every wait: the actor is to stop."""
        for sleeper in tuple(self._sleepers):
            self._roused = True
            resolve(sleeper)

    def close(self) -> None:
        """Cancel every timer: the incarnation has ended."""
        for timer in tuple(self._timers):
            timer.cancel()


class _After:
    """One message to oneself, on its way."""

    __slots__ = ("_message", "_pauses", "handle")

    handle: Timer

    def __init__(self, pauses: Pauses, message: object) -> None:
        self._pauses = pauses
        self._message = message

    def fire(self) -> None:
        self._pauses.deliver(self, self._message)

    def cancel(self) -> None:
        self.handle.cancel()
        self._pauses.forget(self)
