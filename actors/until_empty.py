"""Ends the process when there is nothing left to do, for `run --until-empty`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.store import upkeep
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.outbox import Outbox
    from supervisor.jobs.slots import Slots
    from supervisor.store.database import Database

PERIOD: Final = 0.5
"""Seconds between two looks while something is left."""


class UntilEmpty(Actor[Never]):
    """Asks the process to exit with 0 once no job of its queues and kinds runs, can start, or waits for a retry.

    That includes what other processes run. Jobs that are planned, blocked or switched off do not count, nor suspects
    where no lane for them is started (`suspects` is false).
    """

    def __init__(  # noqa: PLR0913 - where to look, and for what
        self,
        database: Database,
        slots: Slots,
        outbox: Outbox,
        *,
        queues: Sequence[str],
        kinds: Sequence[str],
        suspects: bool,
    ) -> None:
        self._database = database
        self._slots = slots
        self._outbox = outbox
        self._queues = queues
        self._kinds = kinds
        self._suspects = suspects

    async def run(self) -> None:
        """Look, again and again; the database is asked only when this process has nothing to do itself."""
        while not self.stopping:
            pause = PERIOD
            if self._slots.free == self._slots.total and not len(self._outbox):
                try:
                    async with self._database.connection() as link:
                        left = await upkeep.anything_left(link, self._queues, self._kinds, suspects=self._suspects)
                except DatabaseUnavailable as error:
                    pause = self._database.outage.failed(error)
                else:
                    self._database.outage.recovered()
                    if not left:
                        raise SystemExit(0)
            await self.sleep(pause)
