"""Renews the worker's lease from a thread with an event loop and a connection of its own.

A handler that blocks the main loop must not cost all other jobs of the process their lease. How long one job may run
is bounded by its own deadline, which no heartbeat moves.
"""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from supervisor.errors import SupervisorError
from supervisor.jobs.lease import now
from supervisor.store import workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.jobs.lease import Lease
    from supervisor.store.link import Link

ATTEMPT: Final = 5.0
"""Seconds for one heartbeat, and for one attempt to connect."""
AGAIN: Final = 1.0
"""Seconds between attempts after one that failed."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease of the worker was renewed; `epoch` is that of the switches."""

    worker: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The database holds the worker for dead."""

    worker: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A heartbeat failed, with this error."""

    error: Exception


Report: TypeAlias = Renewed | Refused | Missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How long a lease is, and how often it is renewed, in seconds."""

    lease: float
    every: float

    @property
    def attempt(self) -> float:
        """The limit of one attempt: several must fit into a lease."""
        return min(ATTEMPT, self.lease / 4)

    @property
    def again(self) -> float:
        """The pause after an attempt that failed."""
        return min(AGAIN, self.every)


class HeartbeatThread(threading.Thread):
    """Beats as long as `lease.worker` names a worker.

    In the thread, `report` is called with each outcome, and `ended` at the end. `until`, a reading of `now()`, ends all
    renewals: by then the process should be gone. `oldest`: the reading of `now()` at the earliest deadline of the jobs
    that run, None while none does. `running`: how many do.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Link]],
        lease: Lease,
        rhythm: Rhythm,
        report: Callable[[Report], None],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name="heartbeat")
        self.until = math.inf
        self.oldest: float | None = None
        self.running = 0
        self._connect = connect
        self._lease = lease
        self._rhythm = rhythm
        self._report = report
        self._ended = ended
        self._link: Link | None = None
        # A loop that nothing but the heartbeat uses, and no faster one is needed.
        self._loop = asyncio.SelectorEventLoop()
        self._scope = anyio.CancelScope()

    # --- from any thread ----------------------------------------------------------------------------

    def finish(self) -> None:
        """End soon, also in the middle of a statement to a database that never answers."""
        with suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._scope.cancel)

    # --- in the thread --------------------------------------------------------------------------------

    def run(self) -> None:
        """Beat until `finish`."""
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()
            self._ended()

    async def _live(self) -> None:
        try:
            with self._scope:
                while now() < self.until:  # noqa: ASYNC110 - the time is what it waits for
                    await asyncio.sleep(await self._beat())
        finally:
            self._drop()

    async def _beat(self) -> float:
        """Try once; return how long to wait for the next beat."""
        lease, rhythm, worker = self._lease, self._rhythm, self._lease.worker
        if not worker:
            return rhythm.every
        sent_at = now()
        try:
            async with asyncio.timeout(2 * rhythm.attempt):
                answer = await self._ask(worker)
        except (SupervisorError, OSError) as error:  # TimeoutError is an OSError
            self._drop()
            self._report(Missed(error))
            return max(0.0, sent_at + rhythm.again - now())
        if lease.worker != worker:
            return 0.0  # registered anew meanwhile
        if answer is None:
            self._report(Refused(worker))
            return rhythm.again
        lease.renew(sent_at, rhythm.lease)
        self._report(Renewed(worker, answer.epoch))
        return max(0.0, sent_at + rhythm.every - now())

    async def _ask(self, worker: int) -> workers.Heartbeat | None:
        rhythm = self._rhythm
        if self._link is None:
            self._link = await self._connect()
        oldest = None if self.oldest is None else self.oldest - now()
        return await workers.heartbeat(
            self._link, worker, rhythm.lease, oldest, running=self.running, within=rhythm.attempt
        )

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.kill()
