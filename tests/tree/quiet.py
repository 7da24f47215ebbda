"""An event loop that knows when it has nothing left to do, and a clock that waits for that before it moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.clock import Timer


class _Selector(selectors.SelectSelector):
    """Tells a waiter when the loop is about to sleep, which it does only when nothing is ready."""

    waiter: asyncio.Future[None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        waiter, self.waiter = self.waiter, None if timeout != 0 else self.waiter
        if waiter is not None and timeout != 0:
            waiter.set_result(None)
            timeout = 0
        return super().select(timeout)


class QuietLoop(asyncio.SelectorEventLoop):
    """A loop of which a test can wait until everything that could run has run."""

    def __init__(self) -> None:
        self._watch = _Selector()
        super().__init__(self._watch)

    async def quiet(self) -> None:
        """Return when no callback is ready; only timers and other processes could cause more."""
        self._watch.waiter = self.create_future()
        await self._watch.waiter


class _Due:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class QuietClock:
    """A fake clock that lets the loop become quiet after every timer, however much the timer sets off."""

    def __init__(self, loop: QuietLoop) -> None:
        self._loop = loop
        self._now = 0.0
        self._timers: list[tuple[float, int, _Due]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        timer = _Due(callback)
        heapq.heappush(self._timers, (self._now + delay, next(self._numbers), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move on by so many seconds, timer by timer."""
        until = self._now + seconds
        await self._loop.quiet()
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                self._now = due
                timer.callback()
                await self._loop.quiet()
        self._now = until
