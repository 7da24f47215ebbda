"""The deadlines of all running handlers: one timer for all of them.

A timer of its own would cost each job 1.3 µs, and a heap would keep an entry for each job until its deadline, long
after it has ended. Here a job costs one comparison: the handlers that run, few beside those that have run, are looked
through when the earliest deadline among them comes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from supervisor.tree.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from supervisor.tree.clock import Clock, Timer

LEAST_PAUSE: Final = 0.02
"""Seconds between two looks, so that ten thousand handlers, each with a deadline of its own, cost no core."""


class Timed(Protocol):
    """Something with a deadline, `due` by the clock; infinite: none."""

    due: float


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    """Calls `late` with each of `running` whose time has come; `late` must move its `due` or take it out.

    next: when the timer fires; whoever sets a `due` before it must call `arm`.
    """

    __slots__ = ("_clock", "_late", "_looked", "_running", "_timer", "next")

    def __init__(self, clock: Clock, running: Collection[T], late: Callable[[T], object]) -> None:
        self.next = math.inf
        self._clock = clock
        self._running = running
        self._late = late
        self._looked = -math.inf
        self._timer: Timer = NEVER

    def arm(self, due: float) -> None:
        """Look through the handlers at `due`, or a moment later if they were looked through just before."""
        if due < self.next:
            self._timer.cancel()
            self.next = due
            now = self._clock.now()
            self._timer = self._clock.call_later(max(due, self._looked + LEAST_PAUSE, now) - now, self._look)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()
        self.next = math.inf

    def _look(self) -> None:
        self.next = math.inf
        self._looked = now = self._clock.now()
        for each in [each for each in self._running if each.due <= now]:
            self._late(each)
        self.arm(min((each.due for each in self._running), default=math.inf))
