"""Follows the switches: keeps the process's copy, stops what was revoked, and confirms each change.

Nothing starts against a switch even where this does not run, since the claim itself asks. What depends on it is how
soon everybody knows, and how soon what runs is stopped.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs.events import SwitchChanged, SwitchFound
from supervisor.jobs.outcomes import Cancelled
from supervisor.store import audit, control, jobs
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.lease import Lease
    from supervisor.jobs.switches import Switches
    from supervisor.store.audit import AuditEntry
    from supervisor.store.database import Database
    from supervisor.store.link import Link

IDLE_POLL: Final = 5.0
"""Seconds between two looks where notifications arrive; a heartbeat also tells of a change."""
JITTER: Final = 0.1
REVOKING: Final = 0.05
"""Seconds between two looks while something is being stopped somewhere."""
SHOWN: Final = 100
"""Changes that are told one by one of those that were missed; earlier ones are in the audit log."""


class Switchboard(Actor[Never]):
    """Looks when it hears of a change, and each `poll` seconds, or less often where notifications arrive.

    Also turns back what has expired, on every host.
    """

    def __init__(
        self, database: Database, lease: Lease, handlers: HandlerTasks, switches: Switches, *, poll: float = 1.0
    ) -> None:
        self._database = database
        self._lease = lease
        self._handlers = handlers
        self._switches = switches
        self._poll = poll
        self._told = (0, 0)  # the worker and the epoch that were confirmed last
        self._revoking = False

    async def run(self) -> None:
        """Look, again and again."""
        while not self.stopping:
            try:
                async with self._database.connection() as link:
                    pause = await self._look(link)
            except DatabaseUnavailable as error:
                pause = self._database.outage.failed(error)
            else:
                self._database.outage.recovered()
            await self.sleep(pause, wake=self._switches.news)

    async def _look(self, link: Link) -> float:
        """Do what there is to do; return the seconds until the next look."""
        found = await control.watch(link)
        if found.expires_in is not None and found.expires_in <= 0 and await control.expire(link):
            found = await control.watch(link)
        before = self._switches.now.epoch
        if found.epoch != before:
            self._switches.put(await control.read(link))
        if found.revoking or self._revoking:
            await self._stop_revoked(link)
        await self._confirm(link)
        if self._switches.now.epoch != before:
            await self._tell(link, before)
        # Once more after the end: what was claimed when the search came by may have started only then.
        self._revoking = found.revoking
        if found.revoking and await self._search(link):
            return 0.0
        return REVOKING if found.revoking else self._pause(found.expires_in)

    def _pause(self, expires_in: float | None) -> float:
        pause = IDLE_POLL if self._switches.listening else self._poll
        pause *= 1 + JITTER * (2 * self._life.runtime.random.random() - 1)
        # Hosts that find it expired together do it one at a time.
        return pause if expires_in is None else min(pause, max(expires_in, REVOKING))

    async def _confirm(self, link: Link) -> None:
        worker, epoch = self._lease.worker, self._switches.now.epoch
        if worker and self._told != (worker, epoch):
            await control.confirm(link, worker, epoch)
            self._told = (worker, epoch)

    # --- what runs ------------------------------------------------------------------------------------

    async def _stop_revoked(self, link: Link) -> None:
        """Take the leases of our own jobs that were revoked, and cancel those that are no longer ours."""
        runs = [run for run in self._handlers.runs if not (run.is_over or run.is_settled)]
        if not runs:
            return
        revoked = await control.revoke_held(link, self._handlers.claimed_as, [run.id for run in runs])
        held = await jobs.still_held(link, [run.id for run in runs], [run.lock_version for run in runs])
        for run in runs:
            if run.id in revoked or (run.id not in held and run.is_watched):
                self._handlers.cancel(run, Cancelled.LEASE_LOST)

    async def _search(self, link: Link) -> bool:
        """Look for jobs of others to stop, in a part of the table; tell whether to go on at once."""
        found = await control.revoke(link)
        return found is not None and not found.held_up

    # --- what people see ------------------------------------------------------------------------------

    async def _tell(self, link: Link, before: int) -> None:
        emit = self._life.runtime.emit
        if before == 0:
            for found in await control.settings(link, most=SHOWN):
                emit(SwitchFound(self.path, found.scope.value, found.name, found.value, found.actor, found.reason))
            return
        for entry in await audit.changes(link, before, self._switches.now.epoch, SHOWN):
            change = _changed(self.path, entry)
            if change is not None:
                emit(change)


def _changed(path: str, entry: AuditEntry) -> SwitchChanged | None:
    """Make an event of a row of the audit log; None for a change of something else."""
    scopes = {scope.value for scope in control.Scope}
    if entry.scope not in scopes or entry.before is None or entry.after is None or entry.epoch is None:
        return None
    since = entry.before.get("since")
    return SwitchChanged(
        path,
        entry.scope,
        entry.name,
        _value(entry.before),
        _value(entry.after),
        entry.actor,
        entry.reason or "",
        entry.epoch,
        (entry.created_at - datetime.fromisoformat(since)).total_seconds() if isinstance(since, str) else None,
    )


def _value(state: Mapping[str, object]) -> bool | str:
    value = state.get("value")
    return value if isinstance(value, bool) else str(value)
