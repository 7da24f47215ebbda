"""What the actors around the database share, on a fresh database, for tests that run one of them at a time."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from supervisor.jobs import lease as leases
from supervisor.jobs.catalog import Catalog
from supervisor.jobs.handler_tasks import HandlerTasks
from supervisor.jobs.hooks import JobHooks
from supervisor.jobs.lease import Lease
from supervisor.jobs.outbox import Outbox
from supervisor.jobs.slots import Slots
from supervisor.jobs.step_log import StepLog
from supervisor.jobs.switches import Switches
from supervisor.jobs.wakes import Wakes
from supervisor.store import jobs, kinds, workers
from supervisor.store.database import Database
from supervisor.store.kinds import Kind
from supervisor.store.workers import Identity
from supervisor.testing import EventLog
from supervisor.tree.signal import Signal
from tests.actors.engine import job_database
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from supervisor.jobs.job import Job

HOST: Final = "here"
NOOP: Final = Kind("noop", "default", "default", 3, 300.0, changes=True, essential=False)

_numbers: Final = itertools.count(1)


class Parts:
    """A database that is open, and what actors share; `log` is for the events of a tree."""

    def __init__(self, dsn: str, catalog: Sequence[Job[Any]] = ()) -> None:
        self.dsn = dsn
        self.log = EventLog()
        self.database = Database(dsn)
        self.lease, self.slots, self.wakes, self.outbox = Lease(), Slots(10), Wakes(), Outbox()
        self.unregistered, self.suspects = Signal(), Signal()
        self.switches = Switches()
        self.handlers = HandlerTasks(
            Catalog(catalog), self.slots, self.outbox, StepLog(), JobHooks(), self.database, None
        )

    async def worker(self, *, name: str | None = None, lease: float = 3600.0, status: str | None = "RUNNING") -> int:
        """Register a worker by hand; return its id."""
        name = name or f"{HOST}-1-1-{next(_numbers)}"
        identity = Identity(name=name, host=HOST, pid=1, version="v1")
        async with self.database.connection() as link:
            made = (await workers.register(link, identity, lease)).id
            if status is not None:
                await link.execute("UPDATE supervisor.workers SET status = $2 WHERE id = $1", made, status)
        return made

    async def become(self, lease: float = 3600.0) -> int:
        """Register a worker, and hold its lease."""
        sent_at = leases.now()
        self.lease.worker = await self.worker(lease=lease)
        self.lease.renew(sent_at, lease)
        return self.lease.worker

    async def enqueue(self, count: int = 1) -> list[int]:
        """Enqueue jobs of the kind `noop`."""
        async with self.database.connection() as link:
            await kinds.offer(link, [NOOP], replace=False)
            rows = await link.fetch(
                "SELECT id FROM supervisor.enqueue_many($1, $2::text[]::jsonb[])", ["noop"] * count, ["{}"] * count
            )
        return [row[0] for row in rows]

    async def claim(self, worker: int, most: int = 100) -> list[int]:
        """Claim jobs; return their ids."""
        async with self.database.connection() as link:
            return [row.id for row in await jobs.claim(link, worker, "default", ["noop"], most)]

    async def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """Run a query; return its rows as dictionaries."""
        async with self.database.connection() as link:
            return [dict(row) for row in await link.fetch(sql, *args)]

    async def execute(self, sql: str, *args: object) -> None:
        """Run a statement."""
        async with self.database.connection() as link:
            await link.execute(sql, *args)

    async def status(self, worker: int) -> str:
        """Return the status of a worker."""
        (row,) = await self.rows("SELECT status FROM supervisor.workers WHERE id = $1", worker)
        return str(row["status"])

    async def until(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """Wait until a query returns rows; return them."""
        async with asyncio.timeout(LIMIT):
            while not (found := await self.rows(sql, *args)):
                await self.rows("SELECT pg_sleep(0.01)")
        return found


@asynccontextmanager
async def parts(catalog: Sequence[Job[Any]] = ()) -> AsyncIterator[Parts]:
    """Give the parts on a fresh database."""
    async with job_database() as dsn:
        made = Parts(dsn, catalog)
        await made.database.open()
        try:
            yield made
        finally:
            await made.database.close(0.5)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that the loop brings about."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110 - a test may look again and again
            await asyncio.sleep(0)
