"""Two links to one database, with the workers that come and go on them, for the campaign of stale writes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from supervisor.errors import LeaseLost, StatementRefused
from supervisor.store import jobs, workers
from supervisor.store.kinds import Kind
from supervisor.store.workers import Identity
from tests.soak.stale_write_kinds import WRITES

if TYPE_CHECKING:
    import random

    from supervisor.store.link import Link

KIND: Final = Kind("noop", "default", "soak", 3, 300.0, changes=True, essential=False)
LEASE: Final = 600.0
MAX_LOSSES: Final = 3

_TABLES: Final = ("jobs", "jobs_waiting", "job_history", "job_keys", "job_steps", "job_progress")
_FINGERPRINT: Final = " UNION ALL ".join(
    f"SELECT '{table}', md5(string_agg(t.it::text, '|' ORDER BY t.it::text)) "  # noqa: S608 - constants
    f"FROM (SELECT one AS it FROM supervisor.{table} AS one) AS t"
    for table in _TABLES
)
_FENCE: Final = "SELECT lock_version, claimed_by FROM supervisor.jobs WHERE id = $1"


@dataclass(slots=True)
class Stage:
    """Two links, and the workers that come and go on them. attempts: stale writes so far; wrong: what was broken."""

    link: Link
    other: Link
    rng: random.Random
    worker: int = 0
    attempts: int = 0
    wrong: list[str] = field(default_factory=list)
    names: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    name: str = ""

    async def register(self) -> int:
        """Become another worker."""
        self.name = f"host-1-{next(self.names)}-x"
        self.worker = (
            await workers.register(self.link, Identity(name=self.name, host="host", pid=1, version=""), LEASE)
        ).id
        await workers.set_status(self.link, self.worker, "RUNNING")
        return self.worker

    async def lose(self) -> None:
        """Let the worker be declared dead, and release what it holds."""
        dead = self.worker
        await workers.declare_dead(self.link, [self.name])
        await workers.release_lost(self.link, dead, 1000, MAX_LOSSES, False)  # noqa: FBT003
        await self._says_no(dead)
        await self.register()

    async def claim(self, job: int) -> int:
        """Claim what there is, which is this job; return its fence."""
        rows = await jobs.claim(self.link, self.worker, KIND.queue, [KIND.kind], 100)
        rows += await jobs.claim_suspects(
            self.link, self.worker, [KIND.queue], [KIND.kind], 100, least_losses=1, most_losses=100
        )
        found = [row for row in rows if row.id == job]
        if len(found) != 1:
            self.wrong.append(f"job {job} cannot be claimed again")
            return 0
        return found[0].lock_version

    async def current(self, job: int) -> tuple[int | None, bool]:
        """Return the fence of a job that lives, and whether it is claimed; None for one that does not."""
        row = await self.link.fetchrow(_FENCE, job)
        return (None, False) if row is None else (row[0], row[1] is not None)

    async def fingerprint(self) -> dict[str, str]:
        """Return what is in all tables, in short."""
        return {row[0]: row[1] for row in await self.link.fetch(_FINGERPRINT)}

    async def accepts(self, name: str, job: int, version: int) -> bool:
        """Let the other link write under that fence; return whether it got anywhere."""
        self.attempts += 1
        try:
            return await WRITES[name](self.other, job, version)
        except StatementRefused:
            return True  # it got past the fence

    async def _says_no(self, dead: int) -> None:
        """A worker that was declared dead can do nothing any more."""
        try:
            if await jobs.claim(self.other, dead, KIND.queue, [KIND.kind], 1):
                self.wrong.append(f"dead worker {dead} claimed a job")
            self.wrong.append(f"dead worker {dead} may claim")
        except LeaseLost:
            pass
        if await workers.heartbeat(self.other, dead, LEASE, None) is not None:
            self.wrong.append(f"dead worker {dead} renewed its lease")
        if await workers.set_status(self.other, dead, "RUNNING"):
            self.wrong.append(f"dead worker {dead} runs again")
        self.attempts += 3
