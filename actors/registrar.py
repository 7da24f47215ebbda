"""Makes this process known as a worker, and recovers at once what dead processes of the same host have left."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Never

import anyio

from actors.going_down import going_down
from actors.reaper import recover_dead, release
from supervisor.errors import ConfigError, DatabaseUnavailable, StatementRefused
from supervisor.jobs.events import JobsRecovered, WorkerRegistered
from supervisor.jobs.fleet_events import WorkerStandsBy
from supervisor.jobs.lease import now
from supervisor.process.exit_code import ExitCode
from supervisor.process.runtime_dir import prepare
from supervisor.store import kinds, workers
from supervisor.store.fleet import SINGLETON_HELD
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actors.reaper import Recovered
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.lease import Lease
    from supervisor.jobs.wakes import Wakes
    from supervisor.process.lifelock import LifeLock
    from supervisor.store.database import Database
    from supervisor.store.kinds import Kind
    from supervisor.store.link import Link
    from supervisor.store.workers import Identity, WorkerStatus
    from supervisor.tree.signal import Signal

FIRST: Final = 5.0
"""Seconds that a start waits for the registration; after that it goes on without, and tries again."""
LAST: Final = 2.5
"""Seconds for the farewell; after that the lease runs out by itself."""

_log = logging.getLogger(__name__)


class Registrar(Actor[Never]):
    """Registers the worker, and anew whenever `unregistered` is set; says when it runs, stops and has stopped.

    Its row says STOPPING from the moment when the whole tree begins to stop, and STOPPED once nothing runs any more. A
    process in which a handler survived its cancel never says so: its lease must run out first, after its end.

    While another process is the singleton that this one would be, it stands by: it asks again each `poll` seconds. With
    `waits` false it does not, and ends the process.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it keeps, and whom it tells
        self,
        database: Database,
        lease: Lease,
        handlers: HandlerTasks,
        wakes: Wakes,
        unregistered: Signal,
        suspects: Signal,
        *,
        identity: Identity,
        lifelock: LifeLock,
        folder: Path,
        offered: Sequence[Kind],
        lease_length: float,
        max_losses: int,
        waits: bool = True,
        poll: float = 1.0,
    ) -> None:
        self._database = database
        self._lease = lease
        self._handlers = handlers
        self._wakes = wakes
        self._news = unregistered
        self._suspects = suspects
        self._identity = identity
        self._lifelock = lifelock
        self._folder = folder
        self._offered = offered
        self._lease_length = lease_length
        self._max_losses = max_losses
        self._waits = waits
        self._poll = poll
        self._standing_by = False
        self._has_offered = False
        self._down = False
        self._told: tuple[int, WorkerStatus] | None = None
        self._looked_for_dead = False

    async def setup(self) -> None:
        """Register, if the database is there."""
        await self.enter(going_down(self._life.runtime, self.path, self._go_down))
        self._take_lock()
        with anyio.move_on_after(FIRST):
            try:
                async with self._database.connection(within=FIRST) as link:
                    await self._register(link)
            except DatabaseUnavailable as error:
                self._database.outage.failed(error)
            except StatementRefused as refused:
                self._stand_by(refused)
                if not self._waits:
                    raise

    async def run(self) -> None:
        """Bring the row to what it should say, each time that something has changed."""
        while not self.stopping:
            try:
                async with self._database.connection() as link:
                    await self._settle(link)
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
            except StatementRefused as refused:
                self._stand_by(refused)
                if not self._waits:
                    self._life.runtime.request_exit(self.path, ExitCode.NO_START, str(refused))
                await self.sleep(self._poll * (0.8 + 0.4 * self._life.runtime.random.random()), self._news)
            else:
                self._database.outage.recovered()
                await self.sleep(math.inf, self._news)

    async def teardown(self) -> None:
        """Say farewell, if the process ends and leaves nothing running."""
        if not self._down or len(self._handlers):
            return
        with anyio.move_on_after(LAST):
            while not await self._farewell():
                pass

    def _go_down(self) -> None:
        self._down = True
        self._news.set()

    def _take_lock(self) -> None:
        try:
            self._lifelock.hold(prepare(self._folder) / "workers" / self._database.installation)
        except (ConfigError, OSError) as error:
            # The work goes on; after a kill, its jobs wait for the end of the lease.
            _log.warning("the end of this process cannot be proven to the next one on this host: %s", error)

    def _stand_by(self, refused: StatementRefused) -> None:
        """Tell who is the singleton. Raises what the database refused for another reason."""
        if refused.sqlstate != SINGLETON_HELD:
            raise refused
        self._database.outage.recovered()
        if not self._standing_by:
            self._life.runtime.emit(WorkerStandsBy(self.path, self._identity.singleton or "", refused.message))
        self._standing_by = True

    async def _settle(self, link: Link) -> None:
        await self._register(link)
        await self._recover(link)
        status: WorkerStatus = "STOPPING" if self._down else "RUNNING"
        worker = self._lease.worker
        if worker and self._told != (worker, status):
            # Where it is refused, the next heartbeat is too, and that one has consequences.
            await workers.set_status(link, worker, status)
            self._told = (worker, status)

    async def _register(self, link: Link) -> None:
        if self._lease.worker or self._down:
            return
        if self._identity.singleton is not None:
            await self._recover(link)  # the one that died here need not stand in the way for the rest of its lease
        if not self._has_offered:
            await kinds.offer(link, self._offered, replace=True)
            self._has_offered = True
        sent_at = now()
        worker, _, _, cleaned = await workers.register(link, self._identity, self._lease_length)
        self._lease.worker = worker
        self._lease.renew(sent_at, self._lease_length)
        self._standing_by = False
        self._life.runtime.emit(WorkerRegistered(self.path, worker))
        self._wakes.signal.set()
        for dead in cleaned:
            self._tell(await release(link, dead, self._max_losses))

    def _tell(self, recovered: Recovered) -> None:
        if recovered.jobs:
            self._life.runtime.emit(JobsRecovered(self.path, *recovered))

    async def _recover(self, link: Link) -> None:
        """Take the jobs of processes of this host that are proven dead; once, for their files are left but once."""
        if self._looked_for_dead:
            return
        try:
            recovered = await recover_dead(link, self._lifelock, self._max_losses)
        except OSError as error:
            _log.warning("processes of this host that have died cannot be told: %s", error)
            return
        self._looked_for_dead = True
        for each in recovered:
            self._tell(each)
        self._suspects.set()
        self._wakes.signal.set()

    async def _farewell(self) -> bool:
        """Try to write STOPPED; return whether there is nothing more to do."""
        worker = self._lease.worker
        try:
            if worker:
                self._lease.lose()
                async with self._database.connection(within=LAST) as link:
                    await workers.set_status(link, worker, "STOPPED", within=LAST)
        except DatabaseUnavailable as error:
            await anyio.sleep(self._database.outage.failed(error))
            return False
        self._lease.worker = 0
        self._lifelock.release()
        return True
