"""Makes the limits that the app declares, and does what of limits nobody waits for: pauses, refunds, forgetting."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Never

import anyio

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import limits
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.database import Database
    from supervisor.store.limit_rows import LimitRow
    from supervisor.store.link import Link

FIRST: Final = 5.0
"""Seconds that a start waits until the declared limits hold; after that it goes on without, and tries again."""
PERIOD: Final = 5.0
"""Seconds between two looks."""
JITTER: Final = 0.1
PRUNE: Final = 3600.0
"""Seconds between two looks for what counts nothing any more."""
BATCH: Final = 1000
"""Rows in one statement."""

_log = logging.getLogger(__name__)


class LimitUpkeep(Actor[Never]):
    """Works at the start and then every few seconds; any number of hosts may do this at once."""

    def __init__(self, database: Database, declared: Sequence[LimitRow]) -> None:
        self._database = database
        self._declared = list(declared)
        self._pruned_at = -math.inf

    async def setup(self) -> None:
        """Make the declared limits before the first job starts, if the database is there."""
        with anyio.move_on_after(FIRST):
            try:
                async with self._database.connection(within=FIRST) as link:
                    await self._offer(link)
            except DatabaseUnavailable as error:
                self._database.outage.failed(error)

    async def run(self) -> None:
        """Look again and again; an outage is waited out, and what is refused is left to the next time."""
        async for _ in self.every(PERIOD, jitter=JITTER):
            try:
                async with self._database.connection() as link:
                    await self._offer(link)
                    await self._look(link)
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
            except StatementRefused as error:
                _log.error("limits could not be kept in order: %s", error)
            else:
                self._database.outage.recovered()

    async def _offer(self, link: Link) -> None:
        while self._declared:
            try:
                await limits.offer(link, self._declared[:1])
            except StatementRefused as error:
                _log.error("limit %s of the app cannot be made: %s", self._declared[0].name, error)
            del self._declared[0]

    async def _look(self, link: Link) -> None:
        while await limits.tidy(link, BATCH) >= BATCH and not self.stopping:
            pass
        while await limits.reline(link, BATCH) >= BATCH and not self.stopping:
            pass
        now = self._life.runtime.clock.now()
        if now - self._pruned_at >= PRUNE:
            self._pruned_at = now
            while await limits.prune(link, BATCH) >= BATCH and not self.stopping:
                pass
