"""Tells the claimer that there may be something to claim: notifications, promotions, jobs handed back at once."""

from __future__ import annotations

from supervisor.tree.signal import Signal


class Wakes:
    """The queues that somebody spoke of since the claimer looked last. Use it on the event loop's thread.

    signal: set with each note, and by whoever wants the claimer to look at its lease again.
    """

    __slots__ = ("_queues", "signal")

    def __init__(self) -> None:
        self.signal = Signal()
        self._queues: set[str] = set()

    def note(self, queue: str) -> None:
        """Say that a job may have come into this queue, perhaps before others that wait there."""
        self._queues.add(queue)
        if not self.signal:
            self.signal.set()

    def take(self) -> set[str]:
        """Return the queues noted so far, and forget them."""
        queues, self._queues = self._queues, set()
        return queues
