"""A durable PostgreSQL for the figures of the queue: one server, a fresh database, one event loop."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop

from benchmarks.peers.arena import SETTINGS
from benchmarks.queue.engine import PAYLOAD, Calls, noop_job, prepare
from supervisor.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from supervisor.jobs.job import Job

T = TypeVar("T")

_TABLES = "supervisor.jobs, supervisor.jobs_waiting, supervisor.job_history, supervisor.job_keys, supervisor.job_steps"
_LIMIT = 900.0


class Bench:
    """The database under measurement."""

    def __init__(self, runner: asyncio.Runner, dsn: str) -> None:
        self._runner = runner
        self.dsn = dsn

    def run(self, program: Coroutine[None, None, T]) -> T:
        """Run a coroutine to its end on the one loop."""
        return self._runner.run(program)

    async def value(self, statement: str, *args: object) -> object:
        """Run a statement and return its first value."""
        connection = await asyncpg.connect(self.dsn, timeout=10, command_timeout=_LIMIT)
        try:
            return await connection.fetchval(statement, *args)
        finally:
            await connection.close(timeout=10)

    async def number(self, statement: str, *args: object) -> float:
        """Run a statement that gives a number."""
        return float(str(await self.value(statement, *args)))

    async def empty(self) -> None:
        """Throw every job away, with what vacuum would have left of it."""
        await self.value(f"TRUNCATE {_TABLES}")

    async def fill(self, most: int, *, analyse: bool = True) -> None:
        """Put no-op jobs in, as a bulk enqueue does, and bring the statistics up to date."""
        await self.value(
            "INSERT INTO supervisor.jobs (kind, queue, service, args) "
            "SELECT 'noop', 'default', 'default', $2::jsonb FROM generate_series(1, $1::integer)",
            most,
            json.dumps(PAYLOAD),
        )
        if analyse:
            await self.value("VACUUM ANALYZE supervisor.jobs")
            await self.value("CHECKPOINT")

    async def wal(self) -> float:
        """Bytes of WAL written so far."""
        return await self.number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")


@contextmanager
def bench(jobs: Sequence[Job[Any]] = ()) -> Iterator[Bench]:
    """Start the server with a fresh, migrated database for the length of a `with` block; it knows the no-op kind."""
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder, "data"), settings=SETTINGS)
        runner.run(server.start())
        try:
            runner.run(_create(server.dsn))
            dsn = urlunsplit(urlsplit(server.dsn)._replace(path="/bench"))
            runner.run(prepare(dsn, [noop_job(Calls(0)), *jobs]))
            yield Bench(runner, dsn)
        finally:
            runner.run(server.stop())


async def _create(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=_LIMIT)
    try:
        await connection.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        await connection.execute("CREATE DATABASE bench")
    finally:
        await connection.close(timeout=10)
