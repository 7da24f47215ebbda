"""Keeps a storm of equal log lines short: one for each key and period, and the number of the others."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")


@dataclass(slots=True)
class _Period:
    until: float
    held: int = 0


class Quota(Generic[K]):
    """Admits one line per key in `pause` seconds. May be used from several threads."""

    def __init__(self, pause: float, now: Callable[[], float]) -> None:
        self._pause = pause
        self._now = now
        self._periods: dict[K, _Period] = {}
        self._look_at = 0.0
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether any period may be under way: only then is `over` worth a call."""
        return bool(self._periods)

    def admit(self, key: K) -> int | None:
        """Return how many lines were held back since the last one, or None if this one is to be held back too."""
        now = self._now()
        with self._lock:
            period = self._periods.get(key)
            if period is not None and now < period.until:
                period.held += 1
                return None
            self._periods[key] = _Period(now + self._pause)
            return period.held if period is not None else 0

    def over(self, *, at_once: bool = False) -> list[tuple[K, int]]:
        """Close the periods that have passed, or all `at_once`; return the keys with lines held back, and how many.

        What is returned counts as a line, so it opens the key's next period.
        """
        now = self._now()
        if now < self._look_at and not at_once:
            return []
        with self._lock:
            self._look_at = now + self._pause
            ended = {key: period.held for key, period in self._periods.items() if at_once or now >= period.until}
            for key, held in ended.items():
                if held and not at_once:
                    self._periods[key] = _Period(now + self._pause)
                else:
                    del self._periods[key]
        return [(key, held) for key, held in ended.items() if held]
