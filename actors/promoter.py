"""Moves jobs whose time has come to where they can be claimed: retries, snoozed and future ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.store import jobs, upkeep
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from supervisor.jobs.wakes import Wakes
    from supervisor.store.database import Database
    from supervisor.store.link import Link
    from supervisor.tree.signal import Signal

PERIOD: Final = 1.0
"""Seconds; a job that was put to wait meanwhile may be due sooner than all that were known."""
JITTER: Final = 0.1
BATCH: Final = 1000
"""Jobs moved in one statement."""


class Promoter(Actor[Never]):
    """Wakes when the next job is due, at least each second; any number of hosts may do this at once."""

    def __init__(self, database: Database, wakes: Wakes, suspects: Signal) -> None:
        self._database = database
        self._wakes = wakes
        self._suspects = suspects

    async def run(self) -> None:
        """Promote, and wait for the next."""
        while not self.stopping:
            pause = PERIOD * (1 + JITTER * (2 * self._life.runtime.random.random() - 1))
            try:
                async with self._database.connection() as link:
                    due = await self._promote(link)
            except DatabaseUnavailable as error:
                pause = self._database.outage.failed(error)
            else:
                self._database.outage.recovered()
                pause = min(pause, due)
            await self.sleep(pause)

    async def _promote(self, link: Link) -> float:
        """Move all that is due; return the seconds until the next."""
        while (due := await upkeep.next_due(link)) is not None and due <= 0:
            while await jobs.promote(link, BATCH) == BATCH and not self.stopping:
                pass
            self._wakes.signal.set()
            self._suspects.set()  # one that waited for its retry is still one
            if self.stopping:
                break
        return PERIOD if due is None else max(due, 0.0)
