"""Hears what the database announces: new work, cancelled jobs, changes of the switches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.store.wakeups import Wakeups
from supervisor.tree.actor import Actor
from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.switches import Switches
    from supervisor.jobs.wakes import Wakes
    from supervisor.store.database import Database

PROBE: Final = 30.0
"""Seconds between two tests whether notifications still arrive."""
DEAF: Final = 30.0
"""Seconds until the next attempt, where a connection can be had but nothing arrives: there is a pooler between."""

_log = logging.getLogger(__name__)


class Listener(Actor[Never]):
    """Keeps one connection that listens. Without it everything goes on, as fast as polls can make it."""

    def __init__(self, database: Database, wakes: Wakes, handlers: HandlerTasks, switches: Switches) -> None:
        self._database = database
        self._wakes = wakes
        self._handlers = handlers
        self._switches = switches
        self._lost = Signal()

    async def run(self) -> None:
        """Listen, and connect anew when the connection is lost."""
        while not self.stopping:
            try:
                wakeups = await Wakeups.open(
                    self._database,
                    on_queue=self._wakes.note,
                    on_cancel=self._handlers.cancel_job,
                    on_control=self._switches.heard,
                    on_lost=self._lost.set,
                )
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
                continue
            self._database.outage.recovered()
            try:
                await self._listen(wakeups)
            finally:
                self._switches.listening = False
                await wakeups.close()

    async def _listen(self, wakeups: Wakeups) -> None:
        heard = False
        try:
            while not self.stopping:
                await wakeups.probe()
                if not heard:
                    heard = True
                    self._switches.listening = True
                    self._wakes.signal.set()  # for what was announced while nobody listened
                    self._switches.news.set()
                await self.sleep(PROBE, self._lost)
        except DatabaseUnavailable as error:
            if not heard:
                _log.warning("the database's notifications do not arrive, so new jobs are found by polling: %s", error)
                await self.sleep(DEAF)
