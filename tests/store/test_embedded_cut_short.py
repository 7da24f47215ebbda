"""Starts of the embedded PostgreSQL that are cancelled, late or impossible leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import anyio
import pytest

from supervisor.errors import ConfigError
from supervisor.store.embedded import DatabaseStartFailed, DatabaseStartTimeout, postmaster
from supervisor.store.embedded.locks import FileLock
from tests.store.embedded_server import embedded, ended, fake, left_in, query, told

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("scope", [False, True], ids=["task", "scope"])
async def test_a_cancelled_creation_leaves_nothing(folder: Path, programs: Path, scope: bool) -> None:
    """A start cancelled during initdb ends initdb and removes what it wrote; the next start makes a database."""
    slow = fake(programs, initdb='touch "$2/half"; echo $$ >$pipe; exec sleep 60')
    starting = embedded(folder, programs=slow).start
    if scope:
        async with anyio.create_task_group() as group:
            group.start_soon(starting)
            pid = await told(programs)
            group.cancel_scope.cancel()
    else:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(starting())
            pid = await told(programs)
            task.cancel()
        assert task.cancelled()
    assert ended(pid)
    assert left_in(folder) == []
    async with embedded(folder) as ours:
        assert await query(ours.dsn, "SELECT 1") == 1


@pytest.mark.parametrize("script", ['exec "$real/postgres" "$@"', "exec sleep 60"], ids=["starting", "hanging"])
async def test_a_cancelled_start_ends_the_server(seeded: Path, programs: Path, script: str) -> None:
    """A start cancelled while the server starts leaves no server behind, and the next start succeeds."""
    slow = fake(programs, postgres=f"echo $$ >$pipe; {script}")
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(embedded(seeded, programs=slow).start())
        pid = await told(programs)
        starting.cancel()
    assert starting.cancelled()
    assert ended(pid)
    async with embedded(seeded) as ours:
        assert not ours.attached
        assert await query(ours.dsn, "SELECT 1") == 1


async def test_a_cancelled_user_does_not_end_the_server_of_others(seeded: Path) -> None:
    """A start cancelled while it attaches leaves the server to its other users."""
    async with embedded(seeded) as ours:
        async with asyncio.TaskGroup() as tasks:
            attaching = tasks.create_task(embedded(seeded).start())
            await asyncio.sleep(0)
            attaching.cancel()
        assert attaching.cancelled()
        assert await query(ours.dsn, "SELECT 1") == 1
    assert postmaster.running(seeded / "postgres/cluster") is None


async def test_a_start_waits_for_another_one_only_so_long(seeded: Path) -> None:
    """While another process starts the server and does not end, a start tells so and then gives up."""
    steps: list[str] = []
    async with embedded(seeded):
        other = FileLock(seeded / "postgres/start.lock")
        assert other.take()
        with contextlib.closing(other), pytest.raises(DatabaseStartTimeout, match="another process held"):
            await embedded(seeded, start_timeout=0.1, progress=steps.append).start()
    assert steps == ["waiting for another process that starts or stops PostgreSQL"]


async def test_a_hanging_server_is_given_up(seeded: Path, programs: Path) -> None:
    """A server that has not begun to start when the time is up is an error, and ended."""
    hanging = fake(programs, postgres="echo $$ >$pipe; exec sleep 60")
    async with asyncio.TaskGroup() as tasks:
        pid = tasks.create_task(told(programs))
        with pytest.raises(DatabaseStartTimeout, match="was stopped"):
            await embedded(seeded, programs=hanging, start_timeout=1).start()
    assert ended(pid.result())


async def test_a_damaged_database_shows_what_the_server_says(seeded: Path) -> None:
    """A server that cannot start is an error with the end of its log, and the log's place."""
    (seeded / "postgres/cluster/global/pg_control").write_bytes(b"")
    ours = embedded(seeded)
    with pytest.raises(DatabaseStartFailed, match=r"(?s)damaged.*server\.log says:.*global/pg_control"):
        await ours.start()
    assert not await ours.stop()


async def test_a_full_disk_shows_what_initdb_says(folder: Path, programs: Path) -> None:
    """An initdb that fails is an error with its own words, and what it wrote is removed."""
    full = fake(programs, initdb='touch "$2/half"; echo "initdb: error: No space left on device" >&2; exit 1')
    with pytest.raises(DatabaseStartFailed, match=r"(?s)exit code 1; the disk is full.*initdb: error: No space"):
        await embedded(folder, programs=full).start()
    assert left_in(folder) == []


@pytest.mark.parametrize(
    ("version", "message"),
    [("12\n", r"made by PostgreSQL 12.*install PostgreSQL 12"), (None, "no file PG_VERSION"), ("?", "cannot be read")],
    ids=["another major", "none", "nonsense"],
)
async def test_a_database_of_another_version_is_refused(seeded: Path, version: str | None, message: str) -> None:
    """A database that the found PostgreSQL cannot serve, or that is none, is an error that says what to do."""
    file = seeded / "postgres/cluster/PG_VERSION"
    file.unlink()
    if version is not None:
        file.write_text(version)
    with pytest.raises(ConfigError, match=message):
        await embedded(seeded).start()
