"""The locks that prove a process dead: held as long as it lives, free in the moment when it ends."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.process.lifelock import LifeLock
from tests.process.child import child, line

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from supervisor.process.lifelock import LifeLock
LifeLock(sys.argv[2]).hold(Path(sys.argv[1]))
print("held")
sys.stdin.read()
"""
FORKS = """
import os, sys
from pathlib import Path
from supervisor.process.lifelock import LifeLock
lock = LifeLock(sys.argv[2])
lock.hold(Path(sys.argv[1]))
pid = os.fork()
os.write(1, b"held\\n" if pid else b"forked\\n")
sys.stdin.read()
"""


def test_a_process_is_dead_when_it_was_killed(tmp_path: Path) -> None:
    """A process that lives is never taken for dead, and one that was killed is at once."""
    ours = LifeLock("here-1-1-a")
    ours.hold(tmp_path / "deep/down")
    with child(HOLDER, str(tmp_path / "deep/down"), "here-2-2-b") as other:
        assert line(other.stdout) == "held"
        assert ours.dead() == []
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert ours.dead() == ["here-2-2-b"]
    ours.forget(["here-2-2-b"])
    assert ours.dead() == []
    ours.release()


def test_a_copy_of_a_process_keeps_it_alive(tmp_path: Path) -> None:
    """A process whose fork lives on is not taken for dead: the fork may do what it did."""
    ours = LifeLock("here-1-1-a")
    ours.hold(tmp_path)
    with child(FORKS, str(tmp_path), "here-2-2-b") as other:
        assert {line(other.stdout), line(other.stdout)} == {"held", "forked"}
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert ours.dead() == []
    ours.release()


def test_a_released_lock_leaves_nothing(tmp_path: Path) -> None:
    """A process that has left nothing behind is not found by the next one."""
    ours, next_one = LifeLock("here-1-1-a"), LifeLock("here-2-2-b")
    ours.hold(tmp_path)
    assert ours.is_held
    ours.release()
    ours.release()
    next_one.hold(tmp_path)
    assert next_one.dead() == []
    assert [path.name for path in tmp_path.iterdir()] == ["here-2-2-b.lock"]
    next_one.release()


def test_it_is_held_once(tmp_path: Path) -> None:
    """To hold it again changes nothing."""
    ours = LifeLock("here-1-1-a")
    ours.hold(tmp_path)
    ours.hold(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["here-1-1-a.lock"]
    ours.release()


@pytest.mark.parametrize("name", ["there-1-1-a", "here-too-1-1-a"])
def test_other_hosts_are_left_alone(tmp_path: Path, name: str) -> None:
    """A file of another host proves nothing: in a shared folder its lock may not be seen here."""
    (tmp_path / f"{name}.lock").touch()
    ours = LifeLock("here-2-2-b")
    ours.hold(tmp_path)
    assert ours.dead() == []
    ours.release()


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where no file can be made, the caller hears of it, and nothing is held."""
    (tmp_path / "file").touch()
    ours = LifeLock("here-2-2-b")
    with pytest.raises(OSError, match="file"):
        ours.hold(tmp_path / "file")
    assert not ours.is_held
    assert ours.dead() == []


def test_what_is_no_file_is_no_proof(tmp_path: Path) -> None:
    """Things in the folder that cannot be locked are not taken for dead processes."""
    (tmp_path / "here-1-1-a.lock").mkdir()
    (tmp_path / "here-1-1-b.lock").symlink_to(tmp_path / "nowhere")
    ours = LifeLock("here-2-2-b")
    ours.hold(tmp_path)
    assert ours.dead() == []
    ours.release()
