"""Claims suspects for the handlers of a lane: together as long as a job has losses to spare, and then one alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable, LeaseLost
from supervisor.jobs.orphans import hand_back_orphans
from supervisor.jobs.outcomes import INTERRUPTED
from supervisor.store import gates, jobs
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.lease import Lease
    from supervisor.jobs.outbox import Outbox
    from supervisor.jobs.slots import Slots
    from supervisor.jobs.switches import Switches
    from supervisor.store.database import Database
    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link
    from supervisor.tree.signal import Signal

PERIOD: Final = 0.25
"""Seconds between two looks."""
LINGER: Final = 3.0
"""Seconds without a suspect after which the process ends."""
BATCH: Final = 100
"""Jobs in one claim."""
MOST_LOSSES: Final = 32_767
"""What the column of losses can hold."""


class SuspectClaimer(Actor[Never]):
    """Takes suspects of these queues and kinds, and asks the process to exit with 0 when there are none for a while.

    A job on the last of its `max_losses` is claimed only when nothing runs and all that ran is written, and nothing is
    claimed until the same is true of it: if the process dies, it was that job.
    """

    def __init__(  # noqa: PLR0913 - what a claim needs
        self,
        database: Database,
        lease: Lease,
        slots: Slots,
        handlers: HandlerTasks,
        outbox: Outbox,
        *,
        switches: Switches | None = None,
        queues: Sequence[str],
        kinds: Sequence[str],
        max_losses: int,
    ) -> None:
        self._database = database
        self._lease = lease
        self._slots = slots
        self._handlers = handlers
        self._outbox = outbox
        self._switches = switches
        self._queues = queues
        self._gates: dict[str, str | None] = {}  # behind which line of each queue the next claim looks
        self._kinds = kinds
        self._last = max_losses - 1
        self._is_alone = False
        self._lapses = lease.lapses
        self._threaded = not all(job.is_async for job in handlers.catalog)

    async def run(self) -> None:
        """Claim until there is nothing left."""
        idle_since = self.clock.now()
        while not self.stopping:
            pause = PERIOD
            try:
                if self._lease.is_held and await self._claim():
                    pause = 0.0
            except DatabaseUnavailable as error:
                self._lapses = -1 if error.unknown else self._lapses  # the claim may have taken jobs
                pause = self._database.outage.failed(error)
            except LeaseLost:
                pass  # the next heartbeat finds out, and the worker is registered anew
            now = self.clock.now()
            if len(self._handlers) or len(self._outbox) or not self._lease.is_held or self._database.outage.is_on:
                idle_since = now
            elif now - idle_since > LINGER:
                raise SystemExit(0)
            await self.sleep(pause, self._next())

    def _next(self) -> Signal:
        """What may make the next claim worth it."""
        if not len(self._handlers):
            return self._outbox.emptied
        return self._handlers.idle if self._is_alone else self._slots.freed

    async def _claim(self) -> int:
        """Claim what may run beside that which runs; return how many."""
        if len(self._handlers):
            return 0 if self._is_alone else await self._together()
        if self._is_alone and len(self._outbox):
            return 0
        self._is_alone = False
        return await self._together() or (0 if len(self._outbox) else await self._one_alone())

    async def _together(self) -> int:
        room = self._slots.free
        if self._threaded:
            room = min(room, self._handlers.threads.free)
        if self._last <= 1 or room <= 0:
            return 0
        return await self._take(min(room, BATCH), 1, self._last - 1)

    async def _one_alone(self) -> int:
        taken = await self._take(1, max(self._last, 1), MOST_LOSSES)
        self._is_alone = taken > 0
        return taken

    async def _take(self, most: int, least_losses: int, most_losses: int) -> int:
        """Claim jobs and start them; return how many."""
        worker, sent, lapses = self._lease.worker, self.clock.now(), self._lease.lapses
        async with self._database.connection() as link:
            if self._lapses != lapses:
                await hand_back_orphans(link, worker, self._handlers, self._outbox)
                self._lapses = lapses
            rows = await jobs.claim_suspects(
                link,
                worker,
                self._queues,
                self._kinds,
                most,
                least_losses=least_losses,
                most_losses=most_losses,
            )
            taken = self._begin(rows, worker, sent)
            if self._switches is not None and self._switches.now.has_gates:
                taken += await self._take_gated(link, most - len(rows), least_losses, most_losses)
        self._database.outage.recovered()
        return taken

    async def _take_gated(self, link: Link, most: int, least_losses: int, most_losses: int) -> int:
        """Claim jobs that wait behind gates, and start them; return how many."""
        taken = 0
        for queue in self._queues:
            if taken >= most or self.stopping or not self._lease.is_held:
                break
            worker, sent = self._lease.worker, self.clock.now()
            found = await gates.claim_gated(
                link,
                worker,
                queue,
                self._kinds,
                most - taken,
                self._gates.get(queue),
                least_losses=least_losses,
                most_losses=most_losses,
            )
            self._gates[queue] = found.go_on
            taken += self._begin(found.jobs, worker, sent)
        return taken

    def _begin(self, rows: Sequence[ClaimedJob], worker: int, sent: float) -> int:
        """Start what a claim gave, if it is still ours; return how many were started."""
        if self.stopping or not self._lease.is_held or self._lease.worker != worker:
            for row in rows:
                self._outbox.ended(row, INTERRUPTED)
            return 0
        self._slots.take(len(rows))
        self._handlers.start(rows, sent)
        return len(rows)
