"""The one PostgreSQL server that all contestants share, and what a round costs there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.peers.contestants import OURS
from benchmarks.peers.install import BENCH, command
from benchmarks.processes import ROOT, family_cpu
from supervisor.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from benchmarks.peers.contestants import Contestant

SETTINGS: Final = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
"""Durable: every commit is on the disk before anybody is told of it."""

_LIMIT: Final = 300.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What a round cost in seconds of CPU and bytes of WAL, and what the contestant said: rates, its own CPU."""

    said: Mapping[str, float]
    server_cpu: float
    wal: float


class Arena:
    """The server, while it runs."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._pid = server.pid

    def dsn(self, database: str) -> str:
        """Return the URL of one contestant's database."""
        return urlunsplit(urlsplit(self._server.dsn)._replace(path=f"/{database}"))

    async def create(self, database: str) -> None:
        """Make a database anew."""
        await self._execute("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        await self._execute("postgres", f"CREATE DATABASE {database}")

    async def clean(self, contestant: Contestant) -> None:
        """Empty a contestant's queue."""
        for statement in contestant.clean:
            await self._execute(contestant.database, statement)

    async def settle(self, database: str) -> None:
        """Give every contestant the same start: fresh statistics, and no checkpoint in the middle."""
        await self._execute(database, "VACUUM ANALYZE")
        await self._execute(database, "CHECKPOINT")

    async def round(self, contestant: Contestant, action: str, **order: object) -> Costs:
        """Let a contestant do one thing in a process of its own, and measure what the server did meanwhile."""
        cpu, wal = family_cpu(self._pid), await self._wal()
        said = self._play(contestant, action, {**contestant.order, **order})
        return Costs(said, family_cpu(self._pid) - cpu, await self._wal() - wal)

    def _play(self, contestant: Contestant, action: str, order: Mapping[str, object]) -> dict[str, float]:
        if contestant.runtime == OURS:
            program, folder = [sys.executable, "-m", "benchmarks.peers.ours"], ROOT
        else:
            program, folder = command(contestant.runtime, contestant.script)
        done = subprocess.run(  # noqa: S603 - our own list of contestants
            [*program, action, json.dumps(order)],
            cwd=folder,
            env={**os.environ, "BENCHMARK_DSN": self.dsn(contestant.database)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
        )
        if done.returncode:
            raise RuntimeError(f"{contestant.label}, {action}: exit {done.returncode}\n{done.stderr[-3000:]}")
        lines = done.stdout.strip().splitlines()
        return cast("dict[str, float]", json.loads(lines[-1])) if lines else {}

    async def _wal(self) -> float:
        text = await self._execute("postgres", "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return float(str(text))

    async def _execute(self, database: str, statement: str) -> object:
        connection = await asyncpg.connect(self.dsn(database), timeout=10, command_timeout=_LIMIT)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close(timeout=10)


@asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    """Start the server for the length of a `with` block."""
    async with EmbeddedPostgres(BENCH / "postgres", settings=SETTINGS) as server:
        yield Arena(server)
