"""A PostgreSQL server for the tests of this process, and in it a fresh database within milliseconds.

The server is started by the first test that asks and ended with the process; it needs no network. It does not wait
for the disk: a test that cuts the power, so to speak, starts its own. `SUPERVISOR_TEST_PG_MAJOR=15` picks the major
version; without it, the first installation found is used.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from supervisor.store.embedded import EmbeddedPostgres, postmaster
from supervisor.store.embedded.account import server_account
from supervisor.store.embedded.binaries import find
from supervisor.store.embedded.limit import Limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Prepare = Callable[[str], Awaitable[object]]

LIMIT: Final = 10.0
"""Seconds for one statement of this module, and for the stop of the server."""

NO_WAITING: Final = {"fsync": "off", "full_page_writes": "off"}
"""Settings under which the server never waits for the disk; killed processes still lose nothing."""

_FOLDERS: Final = "supervisor-tests-"
_OURS: Final = f"{_FOLDERS}{os.getpid()}-"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp picks the names in it
_ROOM: Final = 1_000_000_000  # bytes; a container's default of 64 MB would not do
_numbers: Final = itertools.count(1)
_templates: Final[dict[Prepare, str]] = {}


def open_folder(*, in_memory: bool = True) -> Path:
    """Make a folder that the server's OS user may enter, as pytest's own folders are for us alone.

    It is in memory where there is room, since a new database is a thousand files, for which a busy disk takes seconds.
    Programs do not belong there: a container forbids to execute them.
    """
    folder = Path(tempfile.mkdtemp(prefix=_OURS, dir=_roomy(_MEMORY) if in_memory else None))
    folder.chmod(0o711)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours, and kill a server that was left in it."""
    left = postmaster.running(folder / "postgres/cluster")
    if left is not None:
        postmaster.kill(left.pid)
    shutil.rmtree(folder, ignore_errors=True)


@cache
def bindir() -> Path:
    """Find the PostgreSQL to test with, which every OS user may execute."""
    wanted = os.environ.get("SUPERVISOR_TEST_PG_MAJOR")
    copies = open_folder(in_memory=False)
    atexit.register(remove_folder, copies)
    major = int(wanted) if wanted else None
    return find(server_account(None), Limit(LIMIT), copies=copies / "binaries", major=major).bindir


async def server() -> EmbeddedPostgres:
    """Return the running server of this process."""
    ours = _server()
    await ours.start()
    return ours


@contextlib.asynccontextmanager
async def fresh_database(prepare: Prepare | None = None) -> AsyncIterator[str]:
    """Give the DSN of a new database that is dropped at the end, with whoever is still connected to it.

    `prepare` gets the DSN of a database and fills it, once for all tests; each test gets a copy. It must close its
    connections.
    """
    ours = await server()
    name = f"t{next(_numbers)}"
    await _execute(ours.dsn, f"CREATE DATABASE {name} TEMPLATE {await _template(ours.dsn, prepare)}")
    try:
        yield _database(ours.dsn, name)
    finally:
        await _execute(ours.dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def _template(dsn: str, prepare: Prepare | None) -> str:
    if prepare is None:
        return "template1"
    if prepare not in _templates:
        name = f"template_{next(_numbers)}"
        await _execute(dsn, f"CREATE DATABASE {name}")
        await prepare(_database(dsn, name))
        _templates[prepare] = name
    return _templates[prepare]


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=LIMIT)
    try:
        await connection.execute(statement, timeout=LIMIT)
    finally:
        await connection.close(timeout=LIMIT)


def _database(dsn: str, name: str) -> str:
    return dsn.replace("/postgres?", f"/{name}?", 1)


@cache
def _server() -> EmbeddedPostgres:
    _remove_forgotten()
    ours = EmbeddedPostgres(open_folder(), bindir=bindir(), settings=NO_WAITING)
    atexit.register(_end, ours)
    return ours


def _end(ours: EmbeddedPostgres) -> None:
    """Stop the server without a loop or a pool of threads: at the exit of the interpreter there are none."""
    ours._cluster.leave(Limit(LIMIT))
    remove_folder(ours.data_dir)


def _remove_forgotten() -> None:
    """End the servers of test runs that were killed, and remove their folders."""
    for base in {_MEMORY, Path(tempfile.gettempdir())}:
        for folder in base.glob(f"{_FOLDERS}[0-9]*-*"):
            run = int(folder.name.removeprefix(_FOLDERS).partition("-")[0])
            with contextlib.suppress(OSError):  # another run removes it too
                if folder.stat().st_uid == os.geteuid() and not postmaster.alive(run):
                    remove_folder(folder)


def _roomy(folder: Path) -> Path | None:
    """Return the folder if it can hold what tests leave there, else None."""
    if not os.access(folder, os.W_OK):
        return None
    found = os.statvfs(folder)
    return folder if found.f_bavail * found.f_frsize > _ROOM else None
