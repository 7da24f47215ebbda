"""Makes the history's next days, and forgets what is old: ended jobs, their steps, workers that are gone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import history, upkeep
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from supervisor.store.database import Database
    from supervisor.store.link import Link

PERIOD: Final = 3600.0
"""Seconds."""
JITTER: Final = 0.1
AHEAD: Final = 7
"""Days of history that stand ready; it takes so long an outage of all workers to run out of them."""
WORKER_DAYS: Final = 7
"""For so many days one can see who a worker was that has ended."""
BATCH: Final = 1000
"""Rows deleted in one statement."""
WITHIN: Final = 60.0
"""Seconds for one statement: dropping a day may mean deleting a large file."""

_log = logging.getLogger(__name__)


class Pruner(Actor[Never]):
    """Works at the start and then each hour; any number of hosts may do this at once."""

    def __init__(self, database: Database, *, history_days: int) -> None:
        self._database = database
        self._history_days = history_days

    async def run(self) -> None:
        """Prune, again and again; an outage is waited out, and what is refused is left to the next time."""
        async for _ in self.every(PERIOD, jitter=JITTER):
            while not self.stopping:
                try:
                    async with self._database.connection() as link:
                        await self._prune(link)
                except DatabaseUnavailable as error:
                    await self.sleep(self._database.outage.failed(error))
                    continue
                except StatementRefused as error:
                    # Nothing is lost by growing a little longer; the process has better things to do than to crash.
                    _log.error("old rows could not be pruned: %s", error)
                self._database.outage.recovered()
                break

    async def _prune(self, link: Link) -> None:
        await history.make(link, AHEAD, within=WITHIN)
        await history.drop(link, self._history_days, within=WITHIN)
        while await history.prune_steps(link, self._history_days, BATCH, within=WITHIN) and not self.stopping:
            pass
        while await upkeep.prune_workers(link, WORKER_DAYS, BATCH, within=WITHIN) and not self.stopping:
            pass
