"""How often somebody may ask, in the memory of one process: the generic cell rate algorithm (ITU-T I.371).

It lets through a burst at once and then so many a second, and needs one number for each key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_KEYS: Final = 10_000


class Rate:
    """So many a second for each key, after a burst. A rate of 0 has no limit.

    What is forgotten beyond MOST_KEYS are the keys that asked least recently, so nobody can make it grow.
    """

    def __init__(self, per_second: float, burst: int, now: Callable[[], float]) -> None:
        self._gap: Final = 1 / per_second if per_second > 0 else 0.0
        self._slack: Final = self._gap * max(burst - 1, 0)
        self._now: Final = now
        self._due: Final[dict[str, float]] = {}

    def wait(self, key: str) -> float:
        """Return how many seconds the key has to wait before it may ask; 0: it may."""
        return max(0.0, self._due.get(key, 0.0) - self._slack - self._now()) if self._gap else 0.0

    def take(self, key: str) -> float:
        """Ask: return 0 if it may, and else how many seconds are left to wait; then nothing is counted."""
        if not self._gap:
            return 0.0
        now, due = self._now(), self._due.pop(key, 0.0)
        wait = due - self._slack - now
        self._due[key] = due if wait > 0 else max(due, now) + self._gap
        if len(self._due) > MOST_KEYS:
            del self._due[next(iter(self._due))]
        return max(0.0, wait)
