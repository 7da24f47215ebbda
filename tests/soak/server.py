"""A PostgreSQL of a campaign's own, that waits for the disk, with our schema in it; it can be killed and revived."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import asyncpg

from supervisor.store.embedded import EmbeddedPostgres, postmaster
from supervisor.store.migrate import up
from tests.soak.pause import until
from tests.store.postgres import LIMIT, bindir, open_folder, remove_folder

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator
    from pathlib import Path

SETTINGS: Final = {"max_connections": "200"}
COPY_LIMIT: Final = 60.0
_EFFECTS: Final = "CREATE TABLE effects (job bigint NOT NULL, name text NOT NULL, fence integer NOT NULL)"
_seeds: Final[list[Path]] = []


class Server:
    """The server, and what can be done to it."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._embedded = embedded

    @property
    def dsn(self) -> str:
        """Where the database is."""
        return self._embedded.dsn

    async def end(self, number: signal.Signals) -> None:
        """End the server: SIGKILL for its main process alone, SIGQUIT for an immediate stop."""
        pid = self._embedded.pid
        os.kill(pid, number)

        async def is_over() -> bool:
            return not postmaster.alive(pid)

        await until(is_over, "the end of the server", LIMIT, 0.01)

    async def revive(self) -> None:
        """Start it again, and recover what was committed."""
        await self._embedded.start()

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Give a connection."""
        connection = await asyncpg.connect(self.dsn, timeout=LIMIT)
        try:
            yield connection
        finally:
            await connection.close(timeout=LIMIT)


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """Give a server that runs, with a database of this release."""
    seed = await _seed()
    folder = open_folder(in_memory=False)
    try:
        await asyncio.to_thread(_copy, seed, folder)
        async with EmbeddedPostgres(folder, bindir=bindir(), settings=SETTINGS) as embedded:
            yield Server(embedded)
    finally:
        remove_folder(folder)


def _copy(seed: Path, folder: Path) -> None:
    subprocess.run(["/bin/cp", "-a", seed / "postgres", folder], check=True, timeout=COPY_LIMIT)


async def _seed() -> Path:
    """Make the cluster that each campaign copies."""
    if not _seeds:
        folder = open_folder(in_memory=False)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        async with EmbeddedPostgres(folder, bindir=bindir(), settings=SETTINGS) as embedded:
            await up(embedded.dsn)
            connection = await asyncpg.connect(embedded.dsn, timeout=LIMIT)
            await connection.execute(_EFFECTS, timeout=LIMIT)
            await connection.close(timeout=LIMIT)
        _seeds.append(folder)
    return _seeds[0]
