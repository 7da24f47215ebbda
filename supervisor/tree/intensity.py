"""The restart window: how many restarts a supervisor tolerates before it gives up."""

from __future__ import annotations

from collections import deque


class Intensity:
    """At most `max_restarts` within `within` seconds (OTP's MaxR and MaxT)."""

    __slots__ = ("_times", "max_restarts", "within")

    def __init__(self, max_restarts: int, within: float) -> None:
        self.max_restarts = max_restarts
        self.within = within
        self._times: deque[float] = deque()

    def record(self, now: float) -> bool:
        """Count one restart decision; False when it is one too many."""
        self._times.append(now)
        self._forget(now)
        return len(self._times) <= self.max_restarts

    def recent(self, now: float) -> int:
        """How many decisions the window holds now."""
        self._forget(now)
        return len(self._times)

    def _forget(self, now: float) -> None:
        # OTP keeps a restart that is exactly `within` old.
        while self._times and now - self._times[0] > self.within:
            self._times.popleft()
