"""Whole processes that run jobs, on a database of their own, and what that database knows of them."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from supervisor import Client
from supervisor.store.migrate import up
from tests.process.job_apps import Wanted, app
from tests.store.postgres import LIMIT, fresh_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncpg import Record

    from tests.process.conftest import Start
    from tests.process.program import Program

QUICK: Final = ("--lease", "2s", "--heartbeat", "500ms")
"""A lease short enough to wait for."""

PAUSE: Final = threading.Event()
"""Never set: to wait on it is to wait for the next look."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A database with our schema, a way to start processes on it, a client and a connection."""

    dsn: str
    client: Client
    connection: asyncpg.Connection[Record]
    start: Start

    def run(self, *options: str, folder: Path | None = None, limit: float = 60.0) -> Program:
        """Start a process, ready to run jobs; with another `folder` it stands for another host."""
        where = () if folder is None else ("--runtime-dir", str(folder))
        environ = {"DATABASE_URL": self.dsn}
        return self.start("tests.process.job_apps:app", *where, *options, environ=environ, limit=limit).ready()

    def on(self, dsn: str) -> Engine:
        """Return the same for processes that reach the database another way."""
        return replace(self, dsn=dsn)

    async def enqueue(self, kind: str, count: int = 1, *, seconds: float | None = None) -> list[int]:
        """Enqueue jobs of a kind, with the time that they are to take; return their ids."""
        args = None if seconds is None else Wanted(seconds)
        job = next(job for job in app.jobs if job.kind == kind)
        return [(await self.client.enqueue(job, args)).id for _ in range(count)]

    async def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """Return rows as dictionaries."""
        return [dict(row) for row in await self.connection.fetch(sql, *args, timeout=LIMIT)]

    async def live(self, job: int) -> dict[str, Any]:
        """Return the row of a job that is not over."""
        (row,) = await self.rows("SELECT * FROM supervisor.jobs WHERE id = $1", job)
        return row

    async def ended(self, job: int) -> dict[str, Any]:
        """Wait until a job is over; return its row in the history."""
        return (await self.until("SELECT * FROM supervisor.job_history WHERE job_id = $1", job))[0]

    async def worker(self, program: Program) -> dict[str, Any]:
        """Return the row of the worker that a process registered last."""
        return (await self.rows("SELECT * FROM supervisor.workers WHERE pid = $1 ORDER BY id DESC", program.pid))[0]

    async def until(self, sql: str, *args: object, limit: float = 20.0) -> list[dict[str, Any]]:
        """Wait until a query returns rows, and return them."""
        give_up = time.monotonic() + limit
        while not (found := await self.rows(sql, *args)):
            assert time.monotonic() < give_up, f"waited in vain for {sql} {args}"
            PAUSE.wait(0.02)
        return found


async def migrated(dsn: str) -> None:
    """Bring a database to the newest schema."""
    await up(dsn)


@contextlib.asynccontextmanager
async def engine(start: Start) -> AsyncIterator[Engine]:
    """Give an engine without a process."""
    async with fresh_database(migrated) as dsn, Client(dsn) as client:
        connection = await asyncpg.connect(dsn, timeout=LIMIT)
        try:
            yield Engine(dsn, client, connection, start)
        finally:
            await connection.close(timeout=LIMIT)
