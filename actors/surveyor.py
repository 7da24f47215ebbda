"""Measures queues, kinds, days and the fleet, so that whoever shows numbers need not; raises jobs that are old.

Every host tries and one at a time does it. The others try more and more seldom, and take over when it is gone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Never

from actors import fleet_shown
from actors.fleet_shown import Ages, reading
from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.jobs.events import JobsEscalated, PressureEased, PressureRose
from supervisor.jobs.pressure import Reading
from supervisor.store import figures
from supervisor.telemetry import fleet_gauges, metrics
from supervisor.telemetry.job_tallies import CLAIM
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.jobs.pressure import Pressure
    from supervisor.store.database import Database
    from supervisor.store.figures import Part
    from supervisor.store.link import Link

PERIOD: Final = 5.0
"""Seconds between two looks at what is due."""
JITTER: Final = 0.1
EVERY: Final[Mapping[Part, float]] = {"queues": 5.0, "fleet": 10.0, "limits": 15.0, "kinds": 60.0, "days": 60.0}
"""Seconds between two measurements of a part; more if it takes more than a fiftieth of the time."""
SELDOM: Final = 6
"""A host that finds the work done by another looks so many times more seldom at most."""
UNASKED: Final = 60.0
"""Seconds between two looks at the figures while nobody asks this process for its metrics."""
SMOOTH: Final = 4
"""Looks over which the time of a claim is averaged: one that is slow is no news."""
SHARE: Final = 0.02
"""Of the time, for the search for jobs that are old, which reads all of them."""
BATCH: Final = 1000
"""Jobs raised at once."""

_log = logging.getLogger(__name__)


class Surveyor(Actor[Never]):
    """Any number of hosts may do this at once. Says in `pressure` whether the database suffers."""

    def __init__(self, database: Database, pressure: Pressure) -> None:
        self._database = database
        self._pressure = pressure
        self._rest = 1.0  # by how much more seldom this host tries than the one that measures
        self._try_at: dict[Part, float] = dict.fromkeys(EVERY, 0.0)
        self._escalate_at = 0.0
        self._read_at = -UNASKED
        self._facts: Mapping[tuple[str, str], float] = {}
        self._claims = CLAIM.sums()
        self._claim = 0.0  # seconds for one, over the last looks
        self._ages = Ages()

    async def setup(self) -> None:
        """Let the age of the figures be read while this runs, so that it grows if nobody measures any more."""
        await self.enter(reading(fleet_gauges.AGE, self._ages))

    async def run(self) -> None:
        """Measure what is due, and look at what was measured."""
        async for _ in self.every(PERIOD, jitter=JITTER, spread=0.0):
            try:
                async with self._database.connection() as link:
                    await self._survey(link)
                    await self._read(link)
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
            except StatementRefused as error:
                # Nothing depends on fresh numbers; those that are shown say how old they are.
                _log.error("the figures could not be measured: %s", error)
            else:
                self._database.outage.recovered()
            self._judge()

    async def _survey(self, link: Link) -> None:
        for part, every in EVERY.items():
            now = self.clock.now()
            if now < self._try_at[part] or self.stopping:
                continue
            if await figures.survey(link, part, every * 0.9):
                self._rest = 1.0
                if part == "queues":
                    await self._escalate(link)
            elif part == "queues":
                self._rest = min(self._rest * 1.5, SELDOM)
            pause = every * self._rest * self._pressure.factor
            self._try_at[part] = now + pause * (1 - JITTER * self._life.runtime.random.random()) - PERIOD / 2

    async def _escalate(self, link: Link) -> None:
        began = self.clock.now()
        if began < self._escalate_at:
            return
        for queue, count in (await figures.escalate(link, BATCH)).items():
            self._life.runtime.emit(JobsEscalated(self.path, queue, count))
        self._escalate_at = began + (self.clock.now() - began) / SHARE

    async def _read(self, link: Link) -> None:
        """Bring what `/metrics` shows up to date, if anybody looks."""
        now = self.clock.now()
        if now < self._read_at + UNASKED and metrics.asked_ago() > UNASKED:
            return
        self._read_at = now
        self._facts = await figures.fleet(link)
        fleet_shown.show_fleet(self._facts)
        fleet_shown.show_queues(await figures.queues(link))
        fleet_shown.show_kinds(await figures.kinds(link))
        self._ages.read(await figures.ages(link))

    def _judge(self) -> None:
        count, seconds = CLAIM.sums()
        claims, took = count - self._claims[0], seconds - self._claims[1]
        self._claims = count, seconds
        self._claim += ((took / claims if claims else 0.0) - self._claim) / SMOOTH
        reading = Reading(
            oldest_snapshot=self._facts.get(("oldest_snapshot_seconds", ""), 0.0),
            dead_rows=self._facts.get(("dead_rows", ""), 0.0),
            claim=self._claim,
        )
        if self._pressure.judge(reading):
            if self._pressure.causes:
                causes = tuple(cause.value for cause in self._pressure.causes)
                self._life.runtime.emit(PressureRose(self.path, self._pressure.factor, causes))
            else:
                self._life.runtime.emit(PressureEased(self.path))
