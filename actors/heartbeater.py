"""Keeps the worker's lease alive, and lets go of a worker that the database holds for dead."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Never

from actors.going_down import going_down
from actors.heartbeat_thread import HeartbeatThread, Missed, Refused, Renewed
from supervisor.errors import SupervisorError
from supervisor.jobs.events import WorkerLost
from supervisor.jobs.lease import now
from supervisor.jobs.outcomes import Cancelled
from supervisor.tree.actor import Actor
from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors.heartbeat_thread import Report, Rhythm
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.lease import Lease
    from supervisor.jobs.switches import Switches
    from supervisor.jobs.wakes import Wakes
    from supervisor.store.database import Database

_log = logging.getLogger(__name__)


class Heartbeater(Actor[Never]):
    """Starts the thread that beats, and acts on what it reports.

    When the worker is lost, its handlers are cancelled, and `unregistered` is set for the registrar. A lease that
    cannot be renewed in time needs no word from here: whoever uses it sees that it has run out. `hard_limit`: seconds
    from the beginning of a shutdown after which this process cannot be alive any more, so that nothing is renewed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it keeps, and whom it tells
        self,
        database: Database,
        lease: Lease,
        handlers: HandlerTasks,
        wakes: Wakes,
        unregistered: Signal,
        switches: Switches,
        *,
        rhythm: Rhythm,
        hard_limit: float,
    ) -> None:
        self._database = database
        self._lease = lease
        self._handlers = handlers
        self._wakes = wakes
        self._unregistered = unregistered
        self._switches = switches
        self._rhythm = rhythm
        self._hard_limit = hard_limit
        self._missed = False
        self._ended = Signal()

    async def setup(self) -> None:
        """Start the thread."""
        await self.enter(self._beating())
        await self.enter(going_down(self._life.runtime, self.path, self._end_renewals))

    async def run(self) -> None:
        """Wait; the thread does the work."""
        await self.sleep(math.inf, self._ended)
        if not self.stopping:
            raise SupervisorError("the heartbeat thread has died; what it raised is on stderr")

    @asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """Keep the thread going; it ends when nothing runs any more that needs a lease."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        over.add_done_callback(lambda _: self._ended.set())
        self._thread = thread = HeartbeatThread(
            partial(self._database.dedicated, "heartbeat", direct=True, within=self._rhythm.attempt),
            self._lease,
            self._rhythm,
            partial(_post, loop, self._hear),
            partial(_post, loop, over.set_result, None),
        )
        thread.start()
        try:
            yield
        finally:
            thread.finish()
            await asyncio.wait([over])
            thread.join()

    def _hear(self, report: Report) -> None:
        """Take a report from the thread, on the loop."""
        match report:
            case Renewed(epoch=epoch):
                self._switches.seen(epoch)
                oldest = self._handlers.oldest()
                self._thread.oldest = None if oldest is None else now() + oldest
                self._thread.running = len(self._handlers)
                if self._missed:
                    self._missed = False
                    self._wakes.signal.set()
            case Missed(error):
                if not self._missed:
                    _log.warning("the lease could not be renewed; trying again until it can: %s", error)
                self._missed = True
            case Refused(worker) if worker == self._lease.worker:
                self._lease.lose()
                self._lease.worker = 0
                self._life.runtime.emit(WorkerLost(self.path, worker))
                self._handlers.cancel_all(Cancelled.LEASE_LOST)
                self._unregistered.set()
            case Refused():
                pass

    def _end_renewals(self) -> None:
        """A process that outlives its shutdown must not keep its jobs: from then on the lease runs out."""
        self._thread.until = min(self._thread.until, now() + self._hard_limit)


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    """Call back on the loop, from another thread; a loop that has ended needs no news."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)
