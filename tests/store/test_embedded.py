"""The embedded PostgreSQL starts, is shared, survives kills and ends: with real servers and real kills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from supervisor.errors import ConfigError, NotRunning
from supervisor.store.embedded import DatabaseStartFailed, DatabaseStartTimeout, EmbeddedPostgres, postmaster
from supervisor.store.embedded.locks import FileLock
from tests.process.child import child, line, say
from tests.store.postgres import LIMIT, NO_WAITING, bindir, fresh_database, server

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

pytestmark = pytest.mark.timeout(30)

ENDLESS_ARCHIVING: Final = {"archive_mode": "on", "archive_command": "sleep 60"}
"""Settings under which a clean stop waits for a minute, and a stop at once does not."""

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


def embedded(
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


async def ended(pid: int) -> bool:
    """Wait for a process of another parent to end; return whether it has."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LIMIT):
            while postmaster.alive(pid):
                await asyncio.sleep(0)
    return not postmaster.alive(pid)


async def test_a_server_lives_as_long_as_its_block(folder: Path) -> None:
    """The first start makes a database and serves it, and the end of the block ends the server."""
    steps: list[str] = []
    async with embedded(folder, progress=steps.append) as ours:
        assert not ours.attached
        assert await query(ours.dsn, "SHOW server_version_num") == await query(ours.dsn, "SHOW server_version_num")
        assert str(await query(ours.dsn, "SHOW server_version")).startswith(f"{ours.major}.")
        assert os.getsid(ours.pid) != os.getsid(0)  # Ctrl-C on our terminal is not for the server
        pid = ours.pid
    assert not postmaster.alive(pid)
    assert [step.partition(" with")[0].partition(" PostgreSQL")[0] for step in steps] == ["creating a database", "starting"]
    with pytest.raises(NotRunning):
        _ = ours.dsn


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen_addresses", ""),
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("max_connections", "55"),
        ("wal_level", "replica"),
        ("fsync", "off"),
        ("search_path", "it's, \"b\\c\""),
    ],
)
async def test_the_settings_are_ours(name: str, value: str) -> None:
    """A server runs with our defaults, and with what was given in their place."""
    given = {**NO_WAITING, "max_connections": "55", "Search_Path": "it's, \"b\\c\""}
    ours = await _configured(given)
    assert await query(ours.dsn, f"SHOW {name}") == value
