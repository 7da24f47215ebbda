"""Takes jobs from workers that will not finish them, on every host, so that no rescue waits for a leader."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs.events import JobsRecovered
from supervisor.jobs.pressure import Pressure
from supervisor.store import workers
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from supervisor.jobs.wakes import Wakes
    from supervisor.process.lifelock import LifeLock
    from supervisor.store.database import Database
    from supervisor.store.link import Link
    from supervisor.tree.signal import Signal

PERIOD: Final = 1.0
"""Seconds between two looks for workers whose lease has run out; ±50 %, so that hosts do not look together."""
FEW: Final = 10
"""Workers that look each second. Of a larger fleet as many do, by chance: its looks cost no more than theirs."""
SHARE: Final = 0.02
"""Of the time, for the search through all jobs, which costs the more the more there are; of all hosts together."""
LONGEST: Final = 30.0
"""Seconds; after so long that search is due somewhere whatever it costs."""
BATCH: Final = 1000
"""Jobs released in one statement."""


class Recovered(NamedTuple):
    """What was taken from one worker: so many jobs, `quarantined` of them for good."""

    worker: int
    jobs: int
    quarantined: int


class Reaper(Actor[Never]):
    """Looks for workers whose lease has run out every second, and for jobs without a worker as often as is cheap.

    Both cost a large fleet together no more than a small one. Sets `suspects` when it has taken jobs. Any number of
    hosts may do this at once.
    """

    def __init__(
        self,
        database: Database,
        wakes: Wakes,
        suspects: Signal,
        *,
        max_losses: int,
        pressure: Pressure | None = None,
    ) -> None:
        self._database = database
        self._wakes = wakes
        self._suspects = suspects
        self._max_losses = max_losses
        self._pressure = pressure or Pressure()
        self._fleet = 1  # living workers, as of the last look
        self._searched_at = -math.inf
        self._rest = 0.0  # seconds between two searches of one host alone
        self._share = 1.0  # of the rests of a fleet, until its own next search: by chance, 1 on average

    async def run(self) -> None:
        """Look, again and again."""
        async for _ in self.every(PERIOD, jitter=0.5, spread=1.0):
            if self._fleet * self._life.runtime.random.random() > FEW:
                continue
            try:
                async with self._database.connection() as link:
                    await self._look(link)
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
            else:
                self._database.outage.recovered()

    async def _look(self, link: Link) -> None:
        for worker in await workers.find_lost(link):
            self._tell(await release(link, worker, self._max_losses))
        self._fleet = max(1, await workers.living(link))
        began = time.monotonic()
        rest = min(self._rest * self._pressure.factor, LONGEST)
        others = self._fleet - 1
        if began >= self._searched_at + rest * (1 + others * self._share):
            for held in await workers.find_held(link):
                self._tell(await release(link, held.worker, self._max_losses, past_deadline=held.past_deadline))
            self._searched_at, self._rest = began, min((time.monotonic() - began) / SHARE, LONGEST)
            # Hosts that were started together must not search together, and then for long nobody.
            self._share = 2 * self._life.runtime.random.random()

    def _tell(self, recovered: Recovered) -> None:
        if recovered.jobs:
            self._life.runtime.emit(JobsRecovered(self.path, *recovered))
            self._suspects.set()
            self._wakes.signal.set()  # what a stopped worker left behind is no suspect


async def recover(link: Link, max_losses: int) -> list[Recovered]:
    """Do all that every host does by itself, now: declare silent workers lost, and release what nobody will finish.

    Raises DatabaseUnavailable.
    """
    await workers.find_lost(link)
    held = await workers.find_held(link)
    found = [await release(link, each.worker, max_losses, past_deadline=each.past_deadline) for each in held]
    return [each for each in found if each.jobs]


async def recover_dead(link: Link, lifelock: LifeLock, max_losses: int) -> list[Recovered]:
    """Release what processes of this host held that are proven dead, without waiting for their leases to run out.

    Raises DatabaseUnavailable, and OSError.
    """
    names = lifelock.dead()
    if not names:
        return []
    found = [await release(link, worker, max_losses) for worker in await workers.declare_dead(link, names)]
    lifelock.forget(names)
    return [each for each in found if each.jobs]


async def release(link: Link, worker: int, max_losses: int, *, past_deadline: bool = False) -> Recovered:
    """Take all jobs from a worker that is not alive, or `past_deadline`, those that are too late from one that is.

    Raises DatabaseUnavailable.
    """
    count = quarantined = 0
    while released := await workers.release_lost(link, worker, BATCH, max_losses, past_deadline):
        count += len(released)
        quarantined += sum(job.quarantined for job in released)
    return Recovered(worker, count, quarantined)
