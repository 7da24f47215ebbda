"""Watches the running handlers: deadlines, the lease, jobs that are no longer ours, and the end of all at a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs import lease as leases
from supervisor.jobs.events import LeaseInDoubt
from supervisor.jobs.outcomes import Cancelled
from supervisor.store import jobs
from supervisor.telemetry.job_spans import job_tracer
from supervisor.tree.actor import Actor
from supervisor.tree.clock import NEVER

if TYPE_CHECKING:
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.lease import Lease
    from supervisor.store.database import Database
    from supervisor.tree.clock import Timer

LEASE_CHECK: Final = 1.0
"""Seconds between looks at the lease at most: after the machine was suspended, timers are late by that time."""


class Executor(Actor[Never]):
    """Owns the handlers that claimers start in `tasks`; when it ends, they have ended or were given up.

    heartbeat: seconds between two questions to the database whether what runs is still ours. grace: seconds that the
    handlers have to end after their cancel, when the stop leaves no more time; the child's `teardown_timeout` must be
    longer. Give the child a `stop_timeout` of the time that handlers may go on after a stop was asked for.
    """

    def __init__(
        self, database: Database, lease: Lease, tasks: HandlerTasks, *, heartbeat: float = 10.0, grace: float = 5.0
    ) -> None:
        self._database = database
        self._lease = lease
        self._tasks = tasks
        self._heartbeat = heartbeat
        self._grace = grace
        self._lease_timer: Timer = NEVER
        self._was_held = False

    async def setup(self) -> None:
        """Be ready for claimers, who start after this."""
        self._tasks.attach(self._life.runtime, self.path, job_tracer())
        self._check_lease()

    async def run(self) -> None:
        """Watch until stopped; then wait for the handlers, as long as the stop allows."""
        async for _ in self.every(self._heartbeat):
            self._tasks.sweep()
            await self._check_held()
        await self._tasks.drained()

    async def teardown(self) -> None:
        """Cancel the handlers that still run, and give up those that survive it."""
        tasks = self._tasks
        self._lease_timer.cancel()
        try:
            tasks.cancel_all(Cancelled.STOP)
            until = self.clock.now() + self._grace
            while tasks.unfinished and (left := until - self.clock.now()) > 0:
                await self.sleep(left, wake=tasks.idle)
        finally:
            for run in tasks.runs:
                tasks.abandon(run)
            tasks.detach()

    async def _check_held(self) -> None:
        """Stop the handlers whose jobs are no longer ours; somebody may have cancelled them unheard."""
        since = self.clock.now() - self._heartbeat
        runs = [run for run in self._tasks.runs if run.sent <= since and run.is_watched]
        if not runs:
            return
        ids, fences = [run.id for run in runs], [run.lock_version for run in runs]
        try:
            async with self._database.connection() as link:
                held = await jobs.still_held(link, ids, fences)
        except DatabaseUnavailable as error:
            self._database.outage.failed(error)
            return
        for run in runs:
            if run.id not in held and run.is_watched:
                self._tasks.cancel(run, Cancelled.LEASE_LOST)

    def _check_lease(self) -> None:
        """Stop everything at the moment from which on somebody else may be given our jobs."""
        left = self._lease.trusted_until - leases.now()
        if left <= 0:
            if self._was_held:
                self._was_held = False
                running = self._tasks.cancel_all(Cancelled.LEASE_LOST)
                self._life.runtime.emit(LeaseInDoubt(self.path, self._lease.worker, running))
            left = LEASE_CHECK
        else:
            self._was_held = True
        self._lease_timer = self.clock.call_later(min(left, LEASE_CHECK), self._check_lease)
