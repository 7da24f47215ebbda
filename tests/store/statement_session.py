"""A link to a migrated database with a worker and two kinds of jobs, for tests of the typed statements."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.store import enqueue, jobs, kinds, workers
from supervisor.store.enqueue import JobOptions
from supervisor.store.kinds import Kind
from supervisor.store.migrate import up
from supervisor.store.workers import Identity
from tests.store.linked import linked, quiet
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link

NOOP: Final = Kind("noop", "default", "mailing", 3, 300.0, changes=True, essential=False)
SLOW: Final = Kind("slow", "later", "reports", 1, 0.5, changes=False, essential=True)
IDENTITY: Final = Identity(name="host:1:abc", host="host", pid=1, version="1.2", metadata={"queues": ["default"]})


@dataclass(frozen=True, slots=True)
class StatementSession:
    """A link, and a worker that runs."""

    link: Link
    worker: int

    async def enqueue(self, count: int = 1, kind: str = "noop", options: JobOptions | None = None) -> list[int]:
        """Enqueue so many jobs and return their ids."""
        texts = [f'{{"n": {number}}}' for number in range(count)]
        made = await enqueue.many(self.link, kind, texts, options or JobOptions(), None, None)
        assert made is not None
        return [job for job, _ in made]

    async def claim(self, most: int = 100, queue: str = "default") -> list[ClaimedJob]:
        """Claim jobs of a queue from its start, sorted by their ids."""
        found = await jobs.claim(self.link, self.worker, queue, ["noop", "slow"], most)
        return sorted(found, key=lambda job: job.id)

    async def lose(self, *, max_losses: int = 3) -> int:
        """Let the worker be lost with all that it holds, and register another; return the number of jobs."""
        await workers.declare_dead(self.link, [IDENTITY.name])
        return len(await workers.release_lost(self.link, self.worker, 1000, max_losses, False))  # noqa: FBT003


@contextlib.asynccontextmanager
async def statements(schema: str = "supervisor") -> AsyncIterator[StatementSession]:
    """Give a link to a database of its own, with our schema under this name."""
    prepare = up if schema == "supervisor" else None
    async with quiet(), fresh_database(prepare) as dsn:
        if prepare is None:
            await up(dsn, schema=schema)
        async with linked(dsn, schema=schema) as link:
            await kinds.offer(link, [NOOP, SLOW], replace=True)
            registered = await workers.register(link, IDENTITY, 60.0)
            await workers.set_status(link, registered.id, "RUNNING")
            yield StatementSession(link, registered.id)
