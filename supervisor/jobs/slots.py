"""How many jobs may run at once in this process, and how many more may be claimed now."""

from __future__ import annotations

from supervisor.tree.signal import Signal


class Slots:
    """A count of free places. The claimer takes as many as it claims jobs; the executor gives each back.

    freed: set when a place becomes free. total, free: places.
    """

    __slots__ = ("free", "freed", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self.freed = Signal()

    def take(self, count: int) -> None:
        """Occupy places, before anything is awaited."""
        self.free -= count

    def give(self, count: int = 1) -> None:
        """Give places back."""
        self.free += count
        if not self.freed:
            self.freed.set()
