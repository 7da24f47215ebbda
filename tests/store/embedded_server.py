"""An embedded server, fake programs in its place, and what is left of either."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg

from supervisor.store.embedded import EmbeddedPostgres, postmaster
from supervisor.store.embedded.limit import Limit
from tests.store.postgres import LIMIT, NO_WAITING, bindir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM: Final = """
import asyncio, sys
from pathlib import Path
import uvloop
from supervisor.store.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[2]), bindir=Path(sys.argv[3]), settings={"fsync": "off"})
    await server.start()
    print("attached" if server.attached else "started", server.pid)
    await asyncio.to_thread(sys.stdin.readline)
    print(await server.stop())

(uvloop.run if sys.argv[1] == "uvloop" else asyncio.run)(main())
"""


def embedded(  # noqa: PLR0913 - keyword options with defaults
    folder: Path,
    *,
    programs: Path | None = None,
    settings: dict[str, str] = NO_WAITING,
    start_timeout: float = 20.0,
    stop_timeout: float = LIMIT,
    progress: Callable[[str], None] | None = None,
) -> EmbeddedPostgres:
    """Make a server of the version under test, which does not wait for the disk."""
    return EmbeddedPostgres(
        folder,
        bindir=programs or bindir(),
        settings=settings,
        start_timeout=start_timeout,
        stop_timeout=stop_timeout,
        progress=progress,
    )


def fake(programs: Path, *, initdb: str = "exit 9", postgres: str = "exit 9") -> Path:
    """Write an installation of shell scripts, in which `$real` is the real one; only the version is always real."""
    version = '[ "$1" = --version ] && exec "$real/postgres" --version'
    for name, script in (("initdb", initdb), ("postgres", f"{version}\n{postgres}")):
        (programs / name).write_text(f"#!/bin/sh\nreal={bindir()}\npipe={programs / 'pid'}\n{script}\n")
        (programs / name).chmod(0o755)
    return programs


async def told(programs: Path) -> int:
    """Wait for a fake program to tell its pid."""
    return int(await asyncio.wait_for(asyncio.to_thread((programs / "pid").read_text), LIMIT))


async def query(dsn: str, statement: str) -> object:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(dsn, timeout=LIMIT)
    try:
        result: object = await connection.fetchval(statement, timeout=LIMIT)
        return result
    finally:
        await connection.close(timeout=LIMIT)


def left_in(folder: Path) -> list[str]:
    """List what a start has left of databases, complete or not."""
    return sorted(path.name for path in (folder / "postgres").glob("cluster*"))


def ended(pid: int) -> bool:
    """Wait for a process to end; return whether it has."""
    limit = Limit(LIMIT)
    while postmaster.alive(pid) and limit.pause(0.005):
        pass
    return not postmaster.alive(pid)
