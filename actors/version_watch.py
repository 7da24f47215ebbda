"""Says when workers of different versions run at the same time: a roll-out that goes on, or one that was forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs.fleet_events import VersionDrift
from supervisor.store import fleet
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from supervisor.store.database import Database

PERIOD: Final = 15.0
"""Seconds between two looks; ±20 %, so that hosts do not look together."""


class VersionWatch(Actor[Never]):
    """Looks which versions live, and tells once of each change in them; never of one version alone at first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told: tuple[str, ...] = ()

    async def run(self) -> None:
        """Look, again and again."""
        async for _ in self.every(PERIOD, jitter=0.2, spread=1.0):
            try:
                async with self._database.connection() as link:
                    versions = tuple(sorted(await fleet.versions(link)))
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
                continue
            self._database.outage.recovered()
            # Of none at all, an outage has just ended: that is no news about versions.
            if versions and versions != self._told and (len(versions) > 1 or self._told):
                self._life.runtime.emit(VersionDrift(self.path, versions))
            if versions:
                self._told = versions if len(versions) > 1 else ()
