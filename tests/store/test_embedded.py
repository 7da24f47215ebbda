"""The embedded PostgreSQL starts, is shared, survives kills and ends: with real servers and real kills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING, Final

import anyio
import asyncpg
import pytest

from supervisor.errors import ConfigError, NotRunning
from supervisor.store.embedded import DatabaseStartFailed, DatabaseStartTimeout, EmbeddedPostgres, postmaster
from supervisor.store.embedded.folder import socket_file
from supervisor.store.embedded.limit import Limit
from supervisor.store.embedded.locks import FileLock
from tests.process.child import child, line, say
from tests.store.postgres import LIMIT, NO_WAITING, bindir, fresh_database, server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
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


async def test_a_server_survives_the_kill_of_its_user(seeded: Path) -> None:
    """After a kill -9 of the process that started it, the next one finds the server and its rows, and ends it."""
    with child(PROGRAM, "uvloop", str(seeded), str(bindir())) as user:
        how, pid = line(user.stdout).split()
        async with embedded(seeded) as second:
            await query(second.dsn, "CREATE TABLE kept AS SELECT 42 AS number")
        user.kill()
        user.wait(LIMIT)
    async with embedded(seeded) as ours:
        assert (how, ours.attached, ours.pid) == ("started", True, int(pid))
        assert await query(ours.dsn, "SELECT number FROM kept") == 42
    assert not postmaster.alive(int(pid))


async def test_a_killed_server_is_revived(folder: Path) -> None:
    """After a kill -9 of the server, the next start of the same user or of another one serves what was committed."""
    ours = embedded(folder, settings={})  # this one waits for the disk, as in real life
    await ours.start()
    await query(ours.dsn, "CREATE TABLE kept AS SELECT 42 AS number")
    other = embedded(folder)
    for reviver in (ours, other):
        killed = ours.pid
        os.kill(killed, signal.SIGKILL)
        assert ended(killed)
        await reviver.start()
        assert not reviver.attached
        assert await query(reviver.dsn, "SELECT number FROM kept") == 42
        await ours.start()
        assert ours.pid == reviver.pid
    assert not await ours.stop()
    assert await other.stop()


async def test_a_left_over_pid_file_is_not_believed(seeded: Path) -> None:
    """A dead server's pid, which another server has now as after the restart of a container, does not stop a start."""
    other = await server()
    async with embedded(seeded) as ours:
        text = (seeded / "postgres/cluster/postmaster.pid").read_text()
    left = text.replace(str(ours_pid := int(text.split()[0])), str(other.pid), 1)
    (seeded / "postgres/cluster/postmaster.pid").write_text(left)
    async with embedded(seeded) as ours:
        assert ours.pid not in {other.pid, ours_pid}
        assert await query(ours.dsn, "SELECT 1") == 1
    assert await query(other.dsn, "SELECT 1") == 1


async def test_a_server_that_we_cannot_see_is_not_doubled(seeded: Path) -> None:
    """A database whose socket answers, though no process here serves it, belongs to a server in another container."""
    async with embedded(seeded) as ours:
        pid_file = seeded / "postgres/cluster/postmaster.pid"
        text = pid_file.read_text()
        path = socket_file(ours.socket_dir)
    pid_file.write_text(text)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(DatabaseStartFailed, match="another container"):
            await embedded(seeded).start()


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


async def test_a_recovering_server_goes_on(seeded: Path) -> None:
    """A server that still starts when the time is up is an error, but goes on, and the next start attaches to it."""
    async with embedded(seeded) as ours:
        pid_file = seeded / "postgres/cluster/postmaster.pid"
        text = pid_file.read_text()
        pid_file.write_text(text.replace("ready   ", "starting"))
        with pytest.raises(DatabaseStartTimeout, match="still says 'starting'"):
            await embedded(seeded, start_timeout=0.2).start()
        pid_file.write_text(text)
        assert await query(ours.dsn, "SELECT 1") == 1


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


async def test_what_a_killed_creation_left_is_removed(folder: Path) -> None:
    """The next start after a kill -9 during initdb begins anew and cleans up."""
    half = folder / "postgres/cluster.new-x"
    half.mkdir(parents=True)
    (half / "PG_VERSION").touch()
    async with embedded(folder):
        assert left_in(folder) == ["cluster"]


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
