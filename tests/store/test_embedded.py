"""The embedded PostgreSQL starts, is shared and ends: with real servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING, Final

import pytest

from supervisor.errors import ConfigError, NotRunning
from supervisor.store.embedded import EmbeddedPostgres, postmaster
from tests.process.child import child, line, say
from tests.store.embedded_server import PROGRAM, embedded, ended, query
from tests.store.postgres import NO_WAITING, bindir, fresh_database, server

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import Popen

pytestmark = pytest.mark.timeout(30)


ENDLESS_ARCHIVING: Final = {"archive_mode": "on", "archive_command": "sleep 60"}
"""Settings under which a clean stop waits for a minute, and a stop at once does not."""


async def test_a_server_lives_as_long_as_its_block(folder: Path) -> None:
    """The first start makes a database and serves it, and the end of the block ends the server."""
    steps: list[str] = []
    async with embedded(folder, progress=steps.append) as ours:
        assert not ours.attached
        assert str(await query(ours.dsn, "SHOW server_version")).startswith(f"{ours.major}.")
        assert os.getsid(ours.pid) != os.getsid(0)  # Ctrl-C on our terminal is not for the server
        pid = ours.pid
    assert not postmaster.alive(pid)
    assert [step.partition(" ")[0] for step in steps] == ["creating", "starting"]
    with pytest.raises(NotRunning):
        _ = ours.dsn


async def test_rows_outlive_the_server(seeded: Path) -> None:
    """The next start serves what was committed before the last stop."""
    async with embedded(seeded) as ours:
        await query(ours.dsn, "CREATE TABLE kept AS SELECT 42 AS number")
    async with embedded(seeded) as ours:
        assert not ours.attached
        assert await query(ours.dsn, "SELECT number FROM kept") == 42


async def test_a_server_runs_with_our_settings_and_those_given(seeded: Path) -> None:
    """Each setting has the given value or else our default, whatever characters it holds."""
    given = {**NO_WAITING, "Max_Connections": "55", "cluster_name": "it's a \\n test"}
    expected = {"max_connections": "55", "cluster_name": given["cluster_name"], "fsync": "off"}
    expected |= {"listen_addresses": "", "jit": "off", "max_parallel_workers_per_gather": "0", "wal_level": "replica"}
    async with embedded(seeded, settings=given) as ours:
        assert {name: await query(ours.dsn, f"SHOW {name}") for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("listen_addresses", "*", "set DATABASE_URL"),
        ("Hba_File", "/etc/passwd", "set DATABASE_URL"),
        ("jit = on\nfsync", "off", "not the name"),
        ("work_mem", "1MB\nfsync = off", "not printable"),
    ],
)
def test_a_setting_that_opens_the_server_is_refused(tmp_path: Path, name: str, value: str, message: str) -> None:
    """What would make the server reachable for others, or smuggle in a line, is an error that says what to do."""
    with pytest.raises(ConfigError, match=message):
        EmbeddedPostgres(tmp_path, settings={name: value})


async def test_several_processes_share_one_server(folder: Path) -> None:
    """Of processes that start at once on an empty folder one starts the server, and the last to leave ends it."""
    with contextlib.ExitStack() as stack:
        loops = ("uvloop", "asyncio", "uvloop")
        users = [stack.enter_context(child(PROGRAM, loop, str(folder), str(bindir()))) for loop in loops]
        begun = [line(user.stdout).split() for user in users]
        assert sorted(how for how, _ in begun) == ["attached", "attached", "started"]
        (pid,) = {int(pid) for _, pid in begun}
        assert [leave(user) for user in users] == ["False", "False", "True"]
        assert not postmaster.alive(pid)


def leave(user: Popen[str]) -> str:
    """Make a process stop; return whether it ended the server."""
    say(user.stdin, "stop")
    return line(user.stdout)


async def test_starts_and_stops_cross_safely(seeded: Path) -> None:
    """Between its own start and stop each user has a working server, however others come and go."""

    async def come_and_go() -> None:
        for _ in range(4):
            async with embedded(seeded) as ours:
                assert await query(ours.dsn, "SELECT 1") == 1

    await asyncio.gather(*(come_and_go() for _ in range(3)))
    assert postmaster.running(seeded / "postgres/cluster") is None


@pytest.mark.parametrize(("stop_timeout", "cancelled"), [(0.2, False), (60, True)], ids=["time is up", "cancelled"])
async def test_a_slow_stop_becomes_a_stop_at_once(seeded: Path, stop_timeout: float, cancelled: bool) -> None:
    """A stop that takes too long, or is cancelled, ends the server at once, and no committed row is lost."""
    steps: list[str] = []
    slow = {**NO_WAITING, **ENDLESS_ARCHIVING}
    ours = embedded(seeded, settings=slow, stop_timeout=stop_timeout, progress=steps.append)
    await ours.start()
    pid = ours.pid
    await query(ours.dsn, "CREATE TABLE kept AS SELECT 42 AS number")
    await query(ours.dsn, "SELECT pg_switch_wal()")
    async with asyncio.TaskGroup() as tasks:
        stopping = tasks.create_task(ours.stop())
        await asyncio.sleep(0)
        if cancelled:
            stopping.cancel()
    assert stopping.cancelled() if cancelled else stopping.result()
    assert cancelled or steps[-1] == "PostgreSQL did not stop within 0.2 s; stopping it at once"
    assert ended(pid)
    async with embedded(seeded) as again:
        assert await query(again.dsn, "SELECT number FROM kept") == 42


async def test_a_server_that_was_ended_by_others_stops_quietly(seeded: Path) -> None:
    """A stop finds nothing to do after the server has died, and a second stop neither."""
    ours = embedded(seeded)
    await ours.start()
    os.kill(ours.pid, signal.SIGKILL)
    assert ended(ours.pid)
    assert await ours.stop()
    assert not await ours.stop()


async def test_a_stop_without_the_folder_is_quiet(seeded: Path) -> None:
    """A stop after someone has removed the data folder neither fails nor makes it anew."""
    ours = embedded(seeded)
    await ours.start()
    postmaster.kill(ours.pid)
    shutil.rmtree(seeded / "postgres")
    assert not await ours.stop()
    assert not (seeded / "postgres").exists()


async def fill(dsn: str) -> None:
    """Make a table, so that a test can see where its database comes from."""
    await query(dsn, "CREATE TABLE filled AS SELECT 1 AS number")


async def test_fresh_databases_are_apart() -> None:
    """Each fresh database has what its preparation made once, and nothing of another one."""
    async with fresh_database(fill) as one, fresh_database(fill) as two, fresh_database() as empty:
        await query(one, "INSERT INTO filled VALUES (2)")
        assert await query(one, "SELECT count(*) FROM filled") == 2
        assert await query(two, "SELECT count(*) FROM filled") == 1
        assert await query(empty, "SELECT to_regclass('filled') IS NULL")
        names = [await query(dsn, "SELECT current_database()") for dsn in (one, two, empty)]
    assert len(set(names)) == 3
    ours = await server()
    left = await query(ours.dsn, "SELECT array_agg(datname::text) FROM pg_database")
    assert isinstance(left, list)
    assert not set(names) & set(left)
