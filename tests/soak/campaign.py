"""A campaign from its first process to its judgement: ledger, workers and client on one database."""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from supervisor import Client
from supervisor.errors import DatabaseUnavailable
from supervisor.store import steps
from supervisor.store.link import connect
from supervisor.store.migrate import up
from tests.soak.checker import check
from tests.soak.enqueuing import Enqueuing
from tests.soak.history import History, collect
from tests.soak.ledger import Ledger, read
from tests.soak.pause import until
from tests.soak.workers import Crew, crew
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.soak.judgement import Judgement

SETTLE: Final = 90.0
"""Seconds within which everything must be over after the last fault: lease, search, lanes and what is left to run."""

CLEAN: Final = frozenset({0})

EFFECTS: Final = "CREATE TABLE effects (job bigint NOT NULL, name text NOT NULL, fence integer NOT NULL)"

_BLOCKED: Final = "SELECT id FROM supervisor.jobs_waiting WHERE reason = 'blocked'"
_LEFT: Final = "SELECT EXISTS (SELECT FROM supervisor.jobs) OR EXISTS (SELECT FROM supervisor.jobs_waiting)"
_SESSIONS: Final = """
    SELECT pid, application_name, state, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_LOCKS: Final = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
_RUNNING: Final = "SELECT count(*) FROM supervisor.workers WHERE status = 'RUNNING'"
_WORKERS: Final = "SELECT id, name, status FROM supervisor.workers WHERE status NOT IN ('STOPPED', 'LOST')"


async def prepared(dsn: str) -> None:
    """Bring a database to this release, with a table for effects in it."""
    await up(dsn)
    connection = await asyncpg.connect(dsn, timeout=LIMIT)
    await connection.execute(EFFECTS, timeout=LIMIT)
    await connection.close(timeout=LIMIT)


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a campaign works with."""

    dsn: str
    ledger: Ledger
    crew: Crew
    client: Client
    enqueue: Enqueuing

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Give a connection of the campaign's own."""
        connection = await asyncpg.connect(self.dsn, timeout=LIMIT, server_settings={"application_name": "campaign"})
        try:
            yield connection
        finally:
            await connection.close(timeout=LIMIT)

    async def offered(self, *kinds: str) -> None:
        """Wait until workers have said what these kinds are."""

        async def known() -> bool:
            async with self.connected() as connection:
                sql = "SELECT count(*) FROM supervisor.job_kinds WHERE kind = ANY ($1)"
                return bool(await connection.fetchval(sql, list(kinds)) == len(kinds))

        await until(known, f"an offer of {kinds}", 60.0)

    async def running(self, count: int) -> None:
        """Wait until so many workers run."""

        async def run() -> bool:
            async with self.connected() as connection:
                return bool(await connection.fetchval(_RUNNING) >= count)

        await until(run, f"{count} workers", 60.0)

    async def up(self, pids: list[int]) -> None:
        """Wait until these processes run."""

        async def run() -> bool:
            async with self.connected() as connection:
                return bool(await connection.fetchval(f"{_RUNNING} AND pid = ANY ($1)", pids) == len(pids))

        await until(run, f"processes {pids} as workers", 60.0)

    async def settle(self, limit: float = SETTLE) -> float:
        """Wait until no job is live, and do for blocked ones what a person would; return the seconds it took."""
        try:
            return await until(self._is_settled, "all jobs are over", limit, 0.25)
        except AssertionError:
            return limit  # the checker says what is left

    async def _is_settled(self) -> bool:
        try:
            async with self.connected() as connection:
                blocked = [row[0] for row in await connection.fetch(_BLOCKED)]
                if not blocked:
                    return not await connection.fetchval(_LEFT)
            await self._resolve(blocked)
        except (OSError, asyncpg.PostgresError, DatabaseUnavailable):
            pass  # it is being revived
        return False

    async def _resolve(self, blocked: list[int]) -> None:
        called = {entry.job: entry.text.split(" ")[1] for entry in read(self.ledger.folder) if entry.what == "called"}
        link = await connect(self.dsn)
        for job in blocked:
            key = called.get(job)
            result = None if key is None else json.dumps(key)
            await steps.resolve(link, job, "ship", result=result, again=key is None)
            self.ledger.write("resolved", job)
        await link.close()

    async def judge(self, judgement: Judgement) -> tuple[History, list[str]]:
        """Read the history and check it."""
        async with self.connected() as connection:
            history = await collect(self.ledger.folder, connection)
        return history, check(history, judgement)

    async def dismissed(self, allowed: frozenset[int] = CLEAN) -> list[str]:
        """Stop all workers in order, and list what they leave behind: sessions, locks, rows, processes.

        `allowed`: the exit codes that are in order.
        """
        found = []
        # One that has just been started again does not hear a signal before it has installed its handlers.
        await self.up([worker.pid for worker in self.crew.workers if not worker.is_over()])
        for worker in list(self.crew.workers):
            if not worker.is_over():
                code = await worker.end()
                if code not in allowed:
                    found.append(f"worker {worker.name} ended with {code} when it was asked to stop")

        await self.client.close()

        async def left() -> list[str]:
            async with self.connected() as connection:
                rows = [*await connection.fetch(_SESSIONS), *await connection.fetch(_WORKERS)]
                locks = await connection.fetchval(_LOCKS)
                return [
                    *(f"left behind: {dict(row)}" for row in rows),
                    *([f"left behind: {locks} advisory locks"] if locks else []),
                    *(f"left behind: process {pid}" for pid in self.crew.alive()),
                ]

        async def gone() -> bool:
            return not await left()

        try:
            await until(gone, "nothing is left behind", 15.0, 0.5)
        except AssertionError:
            found += await left()
        return found


@contextlib.asynccontextmanager
async def campaign(dsn: str, folder: Path) -> AsyncIterator[Campaign]:
    """Give a campaign on a database that is `prepared`; its ledger is in that folder."""
    ledger = Ledger(folder)
    async with crew(ledger, dsn) as ours, Client(dsn) as client:
        yield Campaign(dsn, ledger, ours, client, Enqueuing(client, ledger, itertools.count(1)))
