"""Claims jobs for free slots and starts them; sleeps, and says so, when there is nothing to claim."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable, LeaseLost
from supervisor.jobs.lanes import lanes
from supervisor.jobs.orphans import hand_back_orphans
from supervisor.jobs.outcomes import INTERRUPTED, Cancelled
from supervisor.jobs.pressure import Pressure
from supervisor.jobs.switches import Switches
from supervisor.store import workers
from supervisor.telemetry import job_tallies
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.claim_lane import Lane
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.lease import Lease
    from supervisor.jobs.outbox import Outbox
    from supervisor.jobs.slots import Slots
    from supervisor.jobs.wakes import Wakes
    from supervisor.store.database import Database
    from supervisor.store.link import Link

MOST: Final = 500
"""Jobs in one claim."""

LEASE_PAUSE: Final = 0.25
"""Seconds between two looks at a lease that is not held, and at most at slots that are all taken."""

BUSY_POLL: Final = 0.005
"""Seconds between two claims while jobs keep coming: for so long they wait, and nobody has to notify us."""

BUSY_FOR: Final = 0.05
"""Seconds without a job after which that ends, and we sleep until notified."""

WAKES: Final = 10
"""So many productive wakes within WAKES_WITHIN seconds mean that jobs keep coming."""

WAKES_WITHIN: Final = 0.1

QUIET: Final = 0.05
"""Seconds for which a queue that was found empty is left out of the turns while others have jobs."""

IDLE_LONG: Final = 60.0
"""Seconds without a job after which the poll slows down."""

ENDING_PAUSE: Final = 1.0
"""Seconds between two looks for orphans while handlers end whose lease was lost."""

LATE_ANSWER: Final = 20.0
"""Seconds after which a claim whose answer was lost has certainly taken what it takes."""

JITTER: Final = 0.1


class Claimer(Actor[Never]):
    """The main lane: jobs that were never lost with a worker. Restarted, it hands back what it had not yet started.

    queues: where it claims, in turns. switches: which say whether there are gates. poll, idle_poll: seconds between two
    looks at empty queues, soon after the last job and long after; `pressure` makes them longer. It does not claim while
    the lease is in doubt or too much is unwritten.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the actors of one process share
        self,
        database: Database,
        lease: Lease,
        slots: Slots,
        tasks: HandlerTasks,
        outbox: Outbox,
        wakes: Wakes,
        *,
        queues: Sequence[str],
        switches: Switches | None = None,
        pressure: Pressure | None = None,
        poll: float = 1.0,
        idle_poll: float = 5.0,
    ) -> None:
        self._database = database
        self._lease = lease
        self._slots = slots
        self._tasks = tasks
        self._outbox = outbox
        self._wakes = wakes
        self._queues = list(queues)
        self._pressure = pressure or Pressure()
        self._poll = poll
        self._idle_poll = idle_poll
        self._lanes: Sequence[Lane] = lanes(
            queues, tasks.catalog, switches or Switches(), scarce_threads=tasks.threads.most < slots.total
        )
        self._turns = deque(self._lanes)
        self._rested = True
        self._link: Link | None = None
        self._asleep_as = 0  # the worker that the database believes asleep
        self._productive = -math.inf  # when something was claimed last
        self._woken: deque[float] = deque(maxlen=WAKES)
        self._reconcile_at = -math.inf if tasks.claimed_as else math.inf
        self._settled_at = -math.inf
        self._lapses = lease.lapses

    async def run(self) -> None:
        """Claim until stopped."""
        while not self.stopping:
            if not self._lease.is_held or self._outbox.is_full:
                await self.sleep(LEASE_PAUSE, wake=self._wakes.signal)
                continue
            try:
                await self._step(await self._connected())
            except DatabaseUnavailable as error:
                if error.unknown:
                    self._reconcile_at = -math.inf
                await self._disconnect()
                await self.sleep(self._database.outage.failed(error))
            except LeaseLost:
                # The heartbeat will find the same, and the registrar a new worker.
                await self.sleep(LEASE_PAUSE)
            else:
                self._database.outage.recovered()

    async def teardown(self) -> None:
        """Close the connection; a claim that was cut short is looked after by the next incarnation."""
        await self._disconnect()

    async def _step(self, link: Link) -> None:
        """Claim once from each queue, and rest if there is reason to."""
        if self._lapses != self._lease.lapses:
            self._lapses = self._lease.lapses
            self._reconcile_at = -math.inf
        if self.clock.now() >= self._reconcile_at:
            await self._reconcile(link)
        if self._slots.free <= 0:
            await self._wait_for_slot(link)
            return
        for queue in self._wakes.take():
            self._hint(queue)
        if await self._round(link):
            await self._awake(link)
        else:
            self._woken.clear()
        if all(lane.dry for lane in self._lanes):
            await self._rest(link)
        elif not any(self._room(lane) for lane in self._lanes if not lane.dry):
            await self.sleep(QUIET, wake=self._slots.freed)

    async def _round(self, link: Link) -> bool:
        """Claim from each lane in turn, beginning with another each time; tell whether there was anything.

        After a rest none has waited for its turn, so those come first whose jobs are most likely to have come.
        """
        any_claimed = False
        turns = tuple(self._lanes if self._rested else self._turns)
        self._rested = False
        for lane in turns:
            quiet = lane.dry and self.clock.now() - lane.looked < QUIET
            if not quiet and self._room(lane) > 0 and not self.stopping and self._lease.is_held:
                any_claimed = await self._claim(link, lane) or any_claimed
        self._turns.rotate(-1)
        return any_claimed

    def _room(self, lane: Lane) -> int:
        room = min(self._slots.free, MOST)
        return min(room, self._tasks.threads.free) if lane.threaded else room

    async def _claim(self, link: Link, lane: Lane) -> bool:
        worker, sent = self._lease.worker, self.clock.now()
        self._tasks.claimed_as = worker
        rows = await lane.claim(link, worker, self._room(lane), self.clock.now)
        job_tallies.claimed(lane.queue, rows, self.clock.now() - sent)
        if not rows:
            return False
        self._productive = self.clock.now()
        if self.stopping or not self._lease.is_held or self._lease.worker != worker:
            for row in rows:
                self._outbox.ended(row, INTERRUPTED)
            return False
        self._slots.take(len(rows))
        self._tasks.start(rows, sent)
        return True

    # --- sleeping -----------------------------------------------------------------------------------

    async def _rest(self, link: Link) -> None:
        """Wait for jobs: a moment if some came just now, else asleep, until notified or until the next poll."""
        now = self.clock.now()
        idle = now - self._productive
        if self._asleep_as != self._lease.worker:
            if idle < BUSY_FOR:
                await self.sleep(BUSY_POLL, wake=self._wakes.signal)
            else:
                await workers.sleep_on(link, self._lease.worker, self._queues)
                self._asleep_as = self._lease.worker
            # Also right after falling asleep: what came before that was not notified.
        else:
            pause = self._poll if idle < IDLE_LONG else self._idle_poll
            pause *= self._pressure.factor
            pause *= 1 + JITTER * (2 * self._life.runtime.random.random() - 1)
            until = min(self._reconcile_at, *(lane.again_at for lane in self._lanes))
            await self.sleep(min(pause, max(0.0, until - now)), wake=self._wakes.signal)
            self._woken.append(self.clock.now())
        self._rested = True
        for lane in self._lanes:
            lane.hint()

    async def _awake(self, link: Link) -> None:
        """Ask not to be notified while jobs keep coming: each notification costs the enqueuers a global lock."""
        if self._asleep_as != self._lease.worker:
            return
        woken = self._woken
        many = len(woken) == WAKES and woken[-1] - woken[0] <= WAKES_WITHIN
        if many or not all(lane.dry for lane in self._lanes):
            await workers.sleep_on(link, self._lease.worker, [])
            self._asleep_as = 0
            woken.clear()

    async def _wait_for_slot(self, link: Link) -> None:
        await self.sleep(BUSY_FOR, wake=self._slots.freed)
        if self._slots.free <= 0:
            if self._asleep_as == self._lease.worker:
                await workers.sleep_on(link, self._lease.worker, [])
                self._asleep_as = 0
            await self.sleep(LEASE_PAUSE, wake=self._slots.freed)

    def _hint(self, queue: str) -> None:
        for lane in self._lanes:
            if lane.queue == queue:
                lane.hint()

    # --- the connection -----------------------------------------------------------------------------

    async def _connected(self) -> Link:
        if self._link is not None and self._link.is_broken:
            await self._disconnect()
        if self._link is None:
            self._link = await self._database.dedicated("claimer")
        return self._link

    async def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _reconcile(self, link: Link) -> None:
        """Hand back what an earlier claim took and nobody started, once now and once when it must have ended."""
        if self._reconcile_at == -math.inf:
            self._settled_at = self.clock.now() + LATE_ANSWER
        if self._tasks.claimed_as == self._lease.worker:
            await hand_back_orphans(link, self._lease.worker, self._tasks, self._outbox)
        now = self.clock.now()
        if any(run.cancelled is Cancelled.LEASE_LOST for run in self._tasks.runs):
            self._reconcile_at = now + ENDING_PAUSE  # a handler that lost its job still ends; then it is an orphan too
        else:
            self._reconcile_at = self._settled_at if now < self._settled_at else math.inf
