"""The embedded PostgreSQL survives kills, and what they leave behind: with real kills."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from supervisor.store.embedded import DatabaseStartFailed, DatabaseStartTimeout, postmaster
from supervisor.store.embedded.folder import socket_file
from tests.process.child import child, line
from tests.store.embedded_server import PROGRAM, embedded, ended, left_in, query
from tests.store.postgres import LIMIT, bindir, server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


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


async def test_what_a_killed_creation_left_is_removed(folder: Path) -> None:
    """The next start after a kill -9 during initdb begins anew and cleans up."""
    half = folder / "postgres/cluster.new-x"
    half.mkdir(parents=True)
    (half / "PG_VERSION").touch()
    async with embedded(folder):
        assert left_in(folder) == ["cluster"]
