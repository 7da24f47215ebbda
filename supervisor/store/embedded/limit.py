"""How long work in a thread may take, and the way to end it early: a thread cannot be cancelled from outside."""

from __future__ import annotations

import threading
import time


class Cancelled(Exception):
    """The caller of this work no longer wants it; raised at its next pause."""


class Limit:
    """A deadline `seconds` from now; `cancel` ends the work before it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds
        self._cancelled = threading.Event()

    @property
    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._until - time.monotonic())

    def cancel(self) -> None:
        """Make every pause, from now on, raise `Cancelled`. May be called from any thread."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `Cancelled` if the work is no longer wanted."""
        if self._cancelled.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> bool:
        """Wait that long, or until the deadline; return whether time is left. Raises `Cancelled`."""
        if self._cancelled.wait(min(seconds, self.left)):
            raise Cancelled
        return self.left > 0
