"""A periodic loop for an actor: fixed schedule, missed ticks skipped, ends at stop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.signal import Signal


class Ticks:
    """Iterator behind `Actor.every`. A class, not an async generator: nothing is left open on `break`."""

    __slots__ = ("_due", "_jitter", "_life", "_seconds", "_spread", "_target", "_wake")

    def __init__(self, life: Incarnation, seconds: float, jitter: float, spread: float, wake: Signal | None) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"every({seconds}): the period must be a positive, finite number of seconds")
        if not 0 <= jitter < 1:
            raise ValueError(f"every(jitter={jitter}): a fraction, 0 or more and below 1")
        if not 0 <= spread < math.inf:
            raise ValueError(f"every(spread={spread}): a finite number of seconds, 0 or more")
        self._life = life
        self._seconds = seconds
        self._spread = spread
        self._jitter = jitter
        self._wake = wake
        # The next tick of the schedule, without and with its jitter.
        self._due: float | None = None
        self._target = 0.0

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> None:
        life, clock = self._life, self._life.runtime.clock
        woken = False
        if self._due is None:
            if self._spread:
                await life.pauses.sleep(self._spread * life.runtime.random.random(), self._wake)
            self._due = clock.now()
        elif life.stage is None:
            now = clock.now()
            if self._due < now:
                self._due += math.ceil((now - self._due) / self._seconds) * self._seconds
                self._target = self._due + self._shift()
            woken = await life.pauses.sleep(self._target - now, self._wake)
        if life.stage is not None:
            raise StopAsyncIteration
        life.inbox.stamp = now = clock.now()
        # A timer may fire a moment early by another clock; unless it was a wake, this was the scheduled tick.
        if not woken or now >= self._target:
            self._due += self._seconds
            self._target = self._due + self._shift()
        if self._wake is not None:
            # Cleared before the body runs: a set that arrives during it makes another tick.
            self._wake.clear()

    def _shift(self) -> float:
        return self._seconds * self._jitter * (2 * self._life.runtime.random.random() - 1)
