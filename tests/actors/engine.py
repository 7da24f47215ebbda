"""A small engine on a fresh database: the actors that claim, run and write jobs, and a way to put jobs in."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from actors.claimer import Claimer
from actors.completer import Completer
from actors.executor import Executor
from supervisor.jobs import lease as leases
from supervisor.jobs.catalog import Catalog
from supervisor.jobs.handler_tasks import HandlerTasks
from supervisor.jobs.hooks import JobHooks
from supervisor.jobs.lease import Lease
from supervisor.jobs.outbox import Outbox
from supervisor.jobs.slots import Slots
from supervisor.jobs.step_log import StepLog
from supervisor.jobs.wakes import Wakes
from supervisor.store import kinds, workers
from supervisor.store.database import Database
from supervisor.store.kinds import Kind
from supervisor.store.migrate import up
from supervisor.store.workers import Identity
from supervisor.testing import EventLog, running
from supervisor.tree.child import Child
from supervisor.tree.strategy import Strategy
from supervisor.tree.supervisor import Supervisor
from tests.store.postgres import LIMIT, fresh_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from supervisor.jobs.job import Job
    from supervisor.jobs.switches import Switches
    from supervisor.tree.clock import Clock
    from supervisor.tree.tree import Tree

LONG: Final = 3600.0
"""Seconds: the lease of a worker whose heartbeats a test leaves out."""

_numbers: Final = itertools.count(1)


async def migrate(dsn: str) -> None:
    """Bring a database to the newest schema."""
    await up(dsn)


@asynccontextmanager
async def job_database() -> AsyncIterator[str]:
    """Give the DSN of a fresh database with the schema in it."""
    async with fresh_database(migrate) as dsn:
        yield dsn


class Engine:
    """One process's share of the work; its parts are there for tests to look at.

    log: the events of the tree. heard: those of the jobs.
    """

    tree: Tree

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        dsn: str,
        jobs: Sequence[Job[Any]],
        *,
        concurrency: int = 20,
        threads: int | None = None,
        queues: Sequence[str] | None = None,
        poll: float = 0.05,
        heartbeat: float = 10.0,
        drain: float = 5.0,
        grace: float = 0.5,
        completer_stop: float = 5.0,
        database: Database | None = None,
        switches: Switches | None = None,
        hear: bool = True,
    ) -> None:
        self.log, self.heard = EventLog(), EventLog()
        self.database = database or Database(dsn)
        self.catalog = Catalog(jobs)
        self.lease, self.slots, self.wakes = Lease(), Slots(concurrency), Wakes()
        self.outbox, self.steps = Outbox(), StepLog()
        self.hooks = JobHooks([self.heard] if hear else [])
        self.tasks = HandlerTasks(self.catalog, self.slots, self.outbox, self.steps, self.hooks, self.database, threads)
        self.completer = Child(
            "completer",
            lambda: Completer(self.database, self.outbox, self.steps, self.wakes, self.hooks),
            stop_timeout=completer_stop,
        )
        self.executor = Child(
            "executor",
            lambda: Executor(self.database, self.lease, self.tasks, heartbeat=heartbeat, grace=grace),
            stop_timeout=drain,
            teardown_timeout=grace + 1.0,
            cancel_grace=grace + 1.0,
        )
        self.claimer = Child(
            "claimer",
            lambda: Claimer(
                self.database,
                self.lease,
                self.slots,
                self.tasks,
                self.outbox,
                self.wakes,
                queues=queues or self.catalog.queues,
                switches=switches,
                poll=poll,
                idle_poll=poll,
            ),
            stop_timeout=1.0,
        )
        self.root = Supervisor("root", [self.completer, self.executor, self.claimer], Strategy.REST_FOR_ONE)

    async def register(self, lease: float = LONG) -> None:
        """Become a worker, and offer the kinds."""
        name = f"test-{next(_numbers)}"
        async with self.database.connection() as link:
            sent = leases.now()
            made = await workers.register(link, Identity(name=name, host="test", pid=1, version="0"), lease)
            await workers.set_status(link, made.id, "RUNNING")
            await kinds.offer(link, [_kind(job) for job in self.catalog], replace=True)
        self.lease.worker = made.id
        self.lease.renew(sent, lease)
        self.wakes.signal.set()

    async def enqueue(
        self, kind: str, *args: object, queue: str | None = None, priority: int = 0, max_attempts: int | None = None
    ) -> list[int]:
        """Put in one job for each of `args`; without any, one that takes none."""
        payloads = [json.dumps(each) for each in args] or ["{}"]
        count = len(payloads)
        rows = await self.fetch(
            "SELECT id FROM supervisor.enqueue_many($1, $2::text[]::jsonb[], $3, $4, null, null, null, $5)",
            [kind] * count,
            payloads,
            None if queue is None else [queue] * count,
            [priority] * count,
            None if max_attempts is None else [max_attempts] * count,
        )
        return [row[0] for row in rows]

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        """Run a query."""
        async with self.database.connection() as link:
            return list(await link.fetch(sql, *args))

    async def value(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - whatever the query gives
        """Run a query for one value."""
        ((found,),) = await self.fetch(sql, *args)
        return found

    async def past(self, *ids: int) -> dict[int, Any]:
        """Return the history of jobs, by id."""
        rows = await self.fetch("SELECT * FROM supervisor.job_history WHERE job_id = ANY ($1)", list(ids))
        return {row["job_id"]: row for row in rows}

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait until something is true in the database."""
        async with asyncio.timeout(LIMIT):
            while not await condition():
                await self.value("SELECT 1 FROM pg_sleep(0.02)")

    async def again(self, id_: int) -> None:
        """Make a job that waits for its next attempt due, and claim it."""

        async def promoted() -> bool:
            await self.fetch("UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp() WHERE id = $1", id_)
            return bool(await self.value("SELECT supervisor.promote(10)"))

        await self.until(promoted)
        self.wakes.note("default")

    async def ended(self, *ids: int) -> dict[int, Any]:
        """Wait until these jobs are over, and return their history."""

        async def over() -> bool:
            sql = "SELECT count(DISTINCT job_id) FROM supervisor.job_history WHERE job_id = ANY ($1)"
            return bool(await self.value(sql, list(ids)) == len(ids))

        await self.until(over)
        return await self.past(*ids)

    async def written(self) -> None:
        """Wait until no handler runs and all is written."""

        async def quiet() -> bool:
            return not len(self.tasks) and not len(self.outbox)

        await self.until(quiet)


@asynccontextmanager
async def opened(dsn: str, jobs: Sequence[Job[Any]], **options: Any) -> AsyncIterator[Engine]:  # noqa: ANN401 - Engine's
    """Give an engine that is registered, with its actors not started."""
    made = Engine(dsn, jobs, **options)
    await made.database.open()
    try:
        await made.register()
        yield made
    finally:
        await made.database.close(0.5)


@asynccontextmanager
async def engine(
    dsn: str,
    jobs: Sequence[Job[Any]],
    *,
    clock: Clock | None = None,
    **options: Any,  # noqa: ANN401 - Engine's
) -> AsyncIterator[Engine]:
    """Give an engine that runs."""
    async with opened(dsn, jobs, **options) as made, running(made.root, clock=clock, log=made.log) as made.tree:
        yield made


def _kind(job: Job[Any]) -> Kind:
    return Kind(job.kind, job.queue, job.service, job.max_attempts, job.timeout, job.changes, job.essential)
