"""Ends the process of a lane when the one that started it has ended."""

from __future__ import annotations

import math
from typing import Never

from supervisor.process.lane import watching_parent
from supervisor.tree.actor import Actor
from supervisor.tree.signal import Signal


class ParentWatch(Actor[Never]):
    """Asks for an orderly exit: what runs may finish within the usual limits, under a lease of its own."""

    def __init__(self) -> None:
        self._gone = Signal()

    async def setup(self) -> None:
        """Begin to watch. Raises ConfigError if nobody has started this process for a lane."""
        await self.enter(watching_parent(self._gone.set))

    async def run(self) -> None:
        """Wait for the end of the parent, or our own."""
        await self.sleep(math.inf, self._gone)
        if not self.stopping:
            raise SystemExit(0)
