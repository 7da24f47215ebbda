"""The local socket of a process as a file: who may use it, how long it is there, and how the command finds it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.program import LIMIT, RUN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.conftest import Start

SAME_PID = """
import os, socket, sys
folder, *command = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as stale:
    stale.bind(f"{folder}/supervisor.{os.getpid()}.sock")
os.execv(sys.executable, [sys.executable, *command])
"""


def test_the_socket_is_its_owners_alone(start: Start) -> None:
    """Nobody but the user of the process can use its socket, and a folder that it makes is closed to others."""
    folder = start.folder / "made"
    program = start("idle", "--runtime-dir", str(folder), "--name", "shop").ready()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (path,) = folder.iterdir()
    assert path.name == f"shop.{program.pid}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["open", "link", "file", "long"])
def test_a_folder_that_cannot_be_trusted_is_refused(start: Start, kind: str) -> None:
    """In a folder open to others, or none at all, no socket appears: a warning says so, and the work goes on."""
    folder = start.folder / (kind * 30 if kind == "long" else kind)
    match kind:
        case "open":
            folder.mkdir()
            folder.chmod(0o755)
        case "link":
            folder.symlink_to(start.folder)
        case "file":
            folder.touch()
    program = start("idle", "--runtime-dir", str(folder)).ready()
    (warning,) = (row for row in program.rows() if row["level"] == "warning")
    assert "the `tree` command will not find this process: runtime_dir = " in warning["event"]
    assert not list(start.folder.rglob("*.sock"))
    assert program.end() == ExitCode.CLEAN


@pytest.mark.parametrize(("app", "code"), [("idle", 0), ("bad_start", 69), ("stubborn", 75)])
def test_the_socket_goes_with_the_process(start: Start, app: str, code: int) -> None:
    """However a process ends by itself, its socket is gone."""
    program = start(app)
    if app != "bad_start":
        program.ready()
        assert program.socket.is_socket()
        program.send(signal.SIGTERM)
    assert program.wait() == code
    assert list(start.folder.iterdir()) == []


def test_a_killed_process_leaves_no_socket_for_long(start: Start) -> None:
    """The socket of a killed process is removed by the next one; those of processes that live stay."""
    living, killed = start("idle").ready(), start("idle").ready()
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert killed.socket.is_socket()
    program = start("idle").ready()
    assert sorted(start.folder.iterdir()) == sorted([living.socket, program.socket])
    assert [len(each.nodes()) for each in (living, program)] == [4, 4]


def test_a_stale_socket_of_the_same_number_is_replaced(start: Start) -> None:
    """In a container each start has the same process id: the socket of a killed predecessor is no obstacle."""
    command = (*RUN, "--app", "tests.process.apps:idle", "--runtime-dir", str(start.folder))
    program = start.python("-c", SAME_PID, str(start.folder), *command).ready()
    assert len(program.nodes()) == 4


def tree(folder: Path, *arguments: str) -> str:
    """Run `python -m supervisor tree`, and return what it prints."""
    command = [sys.executable, "-m", "supervisor", "tree", "--runtime-dir", str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=LIMIT, env=dict(os.environ)
    ).stdout


def test_the_command_shows_the_tree(start: Start) -> None:
    """`tree` draws every node of the one process that runs, and `--json` prints what the process answers."""
    program = start("idle").ready()
    drawn = tree(start.folder)
    assert f"pid {program.pid}" in drawn
    for name in ("root", "one", "two", "three"):
        assert name in drawn
    assert json.loads(tree(start.folder, "--json"))["pid"] == program.pid


def test_the_command_changes_the_tree(start: Start) -> None:
    """`tree stop` ends a child; of several processes `--pid` picks the one that is meant."""
    program, other = start("idle").ready(), start("idle").ready()
    tree(start.folder, "--pid", str(program.pid), "stop", "root/two")
    assert program.nodes()["root/two"]["state"] == "stopped"
    assert other.nodes()["root/two"]["state"] == "running"
