"""Whether the database is out of reach: told once when it begins, once when it ends, and how long to wait meanwhile."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 1.0
JITTER: Final = 0.25
"""The part of a wait by which it is shorter or longer, so that not everybody comes back at the same moment."""


def ignore_change(lost: bool, seconds: float, reason: str) -> None:  # noqa: FBT001
    """Do nothing with the news."""


class Outage:
    """The state of the way to the database, shared by all who use it in one event loop.

    `on_change(lost, seconds, reason)` is called when it is lost (0 seconds; the reason is the error's text) and when it
    is back (after how many seconds; the reason of the loss).
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.on_change: Callable[[bool, float, str], None] = ignore_change
        self._now: Final = now
        self._since: float | None = None
        self._reason = ""

    @property
    def is_on(self) -> bool:
        """Whether the database is out of reach, as far as anybody knows."""
        return self._since is not None

    def failed(self, error: Exception) -> float:
        """Take note of a failure, and return the seconds to wait before the next attempt.

        As long as the outage has lasted already, within limits: so one caller waits twice as long each time, and
        several callers do not make each other wait.
        """
        if self._since is None:
            self._since, self._reason = self._now(), str(error)
            self.on_change(True, 0.0, self._reason)  # noqa: FBT003
        wait = min(max(self._now() - self._since, FIRST_WAIT), LONGEST_WAIT)
        return wait * random.uniform(1 - JITTER, 1)  # noqa: S311 - only keeps the callers apart

    def recovered(self) -> None:
        """Take note that the database answered."""
        if self._since is not None:
            seconds, self._since = self._now() - self._since, None
            self.on_change(False, seconds, self._reason)  # noqa: FBT003
