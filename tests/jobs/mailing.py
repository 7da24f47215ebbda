"""Kinds of jobs for tests, a client on a database of its own, and everything that is in that database."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from supervisor.jobs.client import Client
from supervisor.jobs.job import job
from supervisor.store.migrate import up
from tests.store.linked import quiet
from tests.store.postgres import fresh_database
from tests.store.sql_session import add_worker, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncpg import Record

    from tests.store.sql_session import Connection


@dataclass
class Mail:
    """Arguments of a job."""

    to: int
    text: str = "hello"
    copies: list[str] = field(default_factory=list)


@job(queue="mail", service="post", max_attempts=5, timeout=12.5, changes=False, essential=True)
async def send(args: Mail) -> None:
    """A handler of arguments."""


@job()
async def tidy() -> None:
    """A handler of nothing."""


@job()
async def anything(args: dict[str, object]) -> None:
    """A handler of plain JSON."""


@job()
async def measure(args: list[float]) -> None:
    """A handler of numbers."""


COLUMNS: Final = (
    "id, kind, queue, service, tenant, priority, run_at, created_at, args::text, unique_key, max_attempts, attempts, "
    "interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version, "
    "claimed_by, claimed_at, deadline_at"
)


@dataclass(frozen=True, slots=True)
class Mailing:
    """A client, and another connection to look at what it did."""

    dsn: str
    client: Client
    sql: Connection

    async def ready(self) -> list[Record]:
        """List the jobs that may run, in the order in which they would be claimed."""
        return await self.sql.fetch(f"SELECT {COLUMNS} FROM supervisor.jobs ORDER BY queue, priority, run_at, id")  # noqa: S608

    async def waiting(self) -> list[Record]:
        """List the jobs that wait for their time."""
        return await self.sql.fetch(f"SELECT {COLUMNS}, reason, due_at FROM supervisor.jobs_waiting ORDER BY id")  # noqa: S608

    async def count(self) -> int:
        """Count everything that an enqueue writes."""
        tables = ("jobs", "jobs_waiting", "job_keys", "job_history")
        total = " + ".join(f"(SELECT count(*) FROM supervisor.{table})" for table in tables)  # noqa: S608
        return int(await self.sql.fetchval(f"SELECT {total}"))

    async def args(self) -> list[object]:
        """List the arguments of the jobs that may run, in order."""
        return [json.loads(row["args"]) for row in await self.ready()]

    async def claim(self, kind: str, queue: str = "default", most: int = 1000) -> Sequence[Record]:
        """Claim jobs of a kind as a worker does, in their order."""
        worker = await add_worker(self.sql)
        call = "SELECT * FROM supervisor.claim($1, $2, $3, $4, NULL, NULL, NULL) ORDER BY priority, run_at, id"
        return await self.sql.fetch(call, worker, queue, [kind], most)


@contextlib.asynccontextmanager
async def mailing(*, offered: bool = True, within: float = 10.0) -> AsyncIterator[Mailing]:
    """Give a client of a new database; `offered`: the kinds above are known in it."""
    async with quiet(), fresh_database(up) as dsn, session(dsn) as sql, Client(dsn, within=within) as client:
        if offered:
            await client.offer(send)
            await client.offer(tidy)
            await client.offer(anything)
            await client.offer(measure)
        yield Mailing(dsn, client, sql)
