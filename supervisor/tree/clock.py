"""Where the tree gets its time from, so that a test can turn the hands itself."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A pending callback."""

    def cancel(self) -> None:
        """Must do nothing when the callback has run already."""


class Clock(Protocol):
    """Monotonic time in seconds, and callbacks on the event loop."""

    def now(self) -> float:
        """Return the seconds since some fixed moment; never goes back."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` on the loop after `delay` seconds; an infinite delay never fires."""


class _Never:
    def cancel(self) -> None:
        """Nothing was scheduled."""


NEVER: Final[Timer] = _Never()


class SystemClock:
    """The machine's monotonic clock and the running event loop."""

    __slots__ = ()

    # Not loop.time(): uvloop's is cached per turn, and would make a busy actor look idle.
    now = staticmethod(time.monotonic)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` on the running loop after `delay` seconds; an infinite delay never fires."""
        if delay == math.inf:
            return NEVER
        return asyncio.get_running_loop().call_later(delay, callback)
