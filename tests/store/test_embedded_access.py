"""The embedded PostgreSQL is for its owner alone: what other OS users see of it, and where it may live."""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from supervisor.errors import ConfigError
from supervisor.store.embedded import EmbeddedPostgres, postmaster
from supervisor.store.embedded.account import server_account
from supervisor.store.embedded.folder import default_data_dir, socket_file
from tests.process.child import child, line, say
from tests.store.postgres import LIMIT, NO_WAITING, bindir

pytestmark = pytest.mark.timeout(30)
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux shows it there")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

STRANGER: Final = """
import asyncio, concurrent.futures.thread, os, sys
import asyncpg

async def main():
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[1]))
    try:
        await asyncpg.connect(sys.argv[3], timeout=10)
    except (OSError, asyncpg.PostgresError) as error:
        print(type(error).__name__, error)

asyncio.run(main())
"""

USER: Final = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
import asyncpg
from supervisor.errors import SupervisorError
from supervisor.store.embedded import EmbeddedPostgres

async def main():
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[1]))
    server = EmbeddedPostgres(Path(sys.argv[3]), bindir=Path(sys.argv[4]), settings={"fsync": "off"})
    try:
        await server.start()
    except SupervisorError as error:
        return print(type(error).__name__, error)
    connection = await asyncpg.connect(server.dsn, timeout=10)
    print(server.pid, await connection.fetchval("SELECT current_user::text"))
    await connection.close()
    sys.stdin.readline()
    print(await server.stop())

asyncio.run(main())
"""


def embedded(folder: Path) -> EmbeddedPostgres:
    """Make a server of the version under test, which does not wait for the disk."""
    return EmbeddedPostgres(folder, bindir=bindir(), settings=NO_WAITING)


def stranger() -> tuple[str, str]:
    """Return the ids of an OS user who is neither root nor the server's."""
    for name in ("nobody", "daemon", "bin"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != server_account(None).uid:
                return str(entry.pw_uid), str(entry.pw_gid)
    raise AssertionError("this system has no second ordinary user")


def shown(pid: int, name: str = "") -> Path:
    """Return where the system shows this of a process."""
    return Path("/proc", str(pid), name)


async def works(ours: EmbeddedPostgres) -> bool:
    """Return whether we, who started it, may use the server."""
    connection = await asyncpg.connect(ours.dsn, timeout=LIMIT)
    try:
        return bool(await connection.fetchval("SELECT true", timeout=LIMIT))
    finally:
        await connection.close(timeout=LIMIT)


@needs_root
@pytest.mark.parametrize(
    ("opened", "refusal"),
    [(False, "PermissionError"), (True, "InvalidAuthorizationSpecificationError Peer authentication failed")],
    ids=["closed folder", "opened folder"],
)
async def test_another_user_is_refused(seeded: Path, opened: bool, refusal: str) -> None:
    """Another OS user cannot reach the socket, and where someone opened it, is not believed to be the superuser."""
    async with embedded(seeded) as ours:
        if opened:
            ours.socket_dir.chmod(0o755)
            socket_file(ours.socket_dir).chmod(0o777)
        with child(STRANGER, *stranger(), ours.dsn) as other:
            assert line(other.stdout).startswith(refusal)
        assert await works(ours)


async def test_only_the_owner_may_look_inside(seeded: Path) -> None:
    """Data, log and socket are closed to other OS users, and nothing that we left there may be written by them."""
    async with embedded(seeded) as ours:
        closed = (seeded / "postgres/cluster", ours.log, ours.socket_dir)
        assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in closed] == [0, 0, 0]
        files = list((seeded / "postgres").iterdir())
        assert [path for path in files if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)] == []
        owned = [path.name for path in files if path.stat().st_uid != os.geteuid()]
        assert sorted(owned) == (["cluster", "socket"] if os.geteuid() == 0 else [])


@needs_proc
async def test_the_server_does_not_get_our_secrets(seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours but those that programs need is in the server's environment, and none on its command line."""
    monkeypatch.setenv("API_TOKEN", "hunter2")
    async with embedded(seeded) as ours:
        environment, command = (shown(ours.pid, name).read_bytes() for name in ("environ", "cmdline"))
    assert b"PATH=" in environment
    assert b"-D" in command
    assert b"hunter2" not in environment + command


@needs_root
@needs_proc
async def test_a_user_runs_the_server_as_that_user(folder: Path) -> None:
    """An ordinary user's server runs as that user, who is its superuser, and it ends with the last stop."""
    ids = stranger()
    os.chown(folder, int(ids[0]), int(ids[1]))
    with child(USER, *ids, str(folder), str(bindir())) as user:
        pid, role = line(user.stdout).split()
        assert role == "postgres"
        assert shown(int(pid)).stat().st_uid == int(ids[0])
        say(user.stdin, "stop")
        assert line(user.stdout) == "True"
    assert not postmaster.alive(int(pid))


@needs_root
@pytest.mark.parametrize("there", [True, False], ids=["of root", "below a closed folder"])
async def test_a_user_is_told_of_a_folder_that_cannot_be_used(folder: Path, there: bool) -> None:
    """A data folder that belongs to another user, or that cannot be made, is an error that says so."""
    if there:
        (folder / "data/postgres").mkdir(parents=True)
    with child(USER, *stranger(), str(folder / "data"), str(bindir())) as user:
        said = line(user.stdout)
    assert said.startswith("ConfigError data_dir = ")
    assert ("'root'" if there else "Permission denied") in said
    assert "SUPERVISOR_DATA_DIR" in said


@needs_root
async def test_root_is_told_of_a_folder_that_the_server_cannot_enter(folder: Path) -> None:
    """A data folder below a closed one, such as /root, is refused with the name of the closed one."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=rf"may not enter '{closed}'.*SUPERVISOR_DATA_DIR"):
        await embedded(closed / "data").start()


@needs_root
async def test_root_does_not_adopt_the_folder_of_a_user(folder: Path) -> None:
    """Root refuses a folder of another user, who could make it write where a symbolic link points to."""
    foreign = folder / "postgres"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    with pytest.raises(ConfigError, match="not a folder of this user"):
        await embedded(folder).start()


@needs_root
async def test_a_database_that_belongs_to_root_is_refused(seeded: Path) -> None:
    """A database that was restored as root is an error that names the user to give it to."""
    os.chown(seeded / "postgres/cluster", 0, 0)
    with pytest.raises(ConfigError, match=rf"user {server_account(None).name} with chown -R"):
        await embedded(seeded).start()


async def test_a_strange_path_is_no_hindrance(folder: Path) -> None:
    """The DSN and the server's configuration hold whatever characters the data folder's path has."""
    async with embedded(folder / "a b&c=1%20+ü#?") as ours:
        assert folder in ours.socket_dir.parents
        assert await works(ours)


@pytest.mark.parametrize("name", ["x" * 120, "a,b", "a'b"], ids=["long", "comma", "quote"])
async def test_a_socket_finds_a_place(folder: Path, name: str) -> None:
    """Where a data folder's path does not suit a socket, it stands elsewhere, and no trace of it stays."""
    async with embedded(folder / name) as ours:
        assert folder not in ours.socket_dir.parents
        assert stat.S_IMODE(ours.socket_dir.stat().st_mode) == 0o700
        assert await works(ours)
        async with embedded(folder / name) as second:
            assert second.dsn == ours.dsn
        elsewhere = ours.socket_dir
    assert not elsewhere.exists()


@needs_root
async def test_a_socket_folder_of_another_user_is_not_used(seeded: Path) -> None:
    """Where another OS user has put a folder in the socket's place, the socket stands elsewhere."""
    trap = seeded / "postgres/socket"
    trap.rmdir()
    trap.mkdir()
    os.chown(trap, *map(int, stranger()))
    async with embedded(seeded) as ours:
        assert ours.socket_dir != trap
        assert await works(ours)


@pytest.mark.parametrize(
    ("user", "environ", "expected"),
    [
        (0, {"XDG_DATA_HOME": "/data"}, "/var/lib/supervisor"),
        (1000, {"XDG_DATA_HOME": "/data"}, "/data/supervisor"),
        (1000, {"XDG_DATA_HOME": "relative"}, "/home/me/.local/share/supervisor"),
        (1000, {}, "/home/me/.local/share/supervisor"),
    ],
)
def test_the_default_data_folder(
    monkeypatch: pytest.MonkeyPatch, user: int, environ: dict[str, str], expected: str
) -> None:
    """Root's data stands with the system's, and a user's where the XDG rules put it."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_data_dir(environ) == Path(expected)


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose user id the system does not know, as in some containers, is told what to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match=r"12345 has no name.*/etc/passwd"):
        server_account(None)
