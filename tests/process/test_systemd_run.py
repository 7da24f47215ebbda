"""What systemd hears from a whole process, and when: readiness, pings, status and the beginning of the stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.program import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.conftest import Start
    from tests.process.program import Program


class Systemd:
    """The receiving end of the notifications."""

    def __init__(self, listening: socket.socket, path: Path) -> None:
        self.heard: list[str] = []
        self.environ = {"NOTIFY_SOCKET": str(path)}
        self._listening = listening

    def hear(self, text: str) -> str:
        """Wait for a datagram that begins with `text`, and is yet to be read."""
        give_up = time.monotonic() + LIMIT
        while time.monotonic() < give_up:
            self.heard.append(self._listening.recv(4096).decode())
            if self.heard[-1].startswith(text):
                return self.heard[-1]
        raise AssertionError(f"no {text} in {self.heard}")

    def hear_all(self) -> list[str]:
        """Read what has arrived by now; return all that was heard."""
        self._listening.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self._listening.recv(4096).decode())
        self._listening.settimeout(LIMIT)
        return self.heard


@pytest.fixture
def systemd(start: Start) -> Iterator[Systemd]:
    """Listen like systemd does."""
    path = start.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(LIMIT)
        yield Systemd(listening, path)


def test_ready_comes_when_the_whole_tree_runs(start: Start, systemd: Systemd) -> None:
    """READY=1 waits for the last child; children that start ask for more time, but do not flood the socket."""
    program = start("hesitant", environ=systemd.environ)
    program.out.expect("hesitant starting")
    assert systemd.hear_all() == ["EXTEND_TIMEOUT_USEC=30000000"]
    program.say("go on")
    systemd.hear("READY=1")
    assert program.out.lines[-1] == "three up"
    assert systemd.heard[1:] == ["READY=1"]
    assert systemd.hear("STATUS=") == "STATUS=running: 4 actors and supervisors"


def test_the_stop_is_announced_at_its_beginning(start: Start, systemd: Systemd) -> None:
    """STOPPING=1 and the time that the stop may take come while children still run."""
    program = start("patient", "--shutdown-timeout", "20", environ=systemd.environ)
    systemd.hear("STATUS=running: 3")
    program.send(signal.SIGTERM)
    program.out.expect("patient going down")
    heard = systemd.hear_all()
    at = heard.index("STOPPING=1")
    assert "EXTEND_TIMEOUT_USEC=23000000" in heard[at - 1 :]
    assert heard[at + 1] == "STATUS=draining: SIGTERM"
    program.say("go on")
    assert program.wait() == ExitCode.CLEAN
    assert systemd.hear_all().count("READY=1") == 1


def test_the_status_counts_down_what_is_left(start: Start, systemd: Systemd) -> None:
    """During the stop the status says how many actors and supervisors still run, down to none."""
    program = start("idle", environ=systemd.environ)
    systemd.hear("STATUS=running: 4")
    assert program.end() == ExitCode.CLEAN
    left = [text for text in systemd.hear_all() if text.endswith(" left")]
    assert left == [f"STATUS=draining: {count} left" for count in (3, 2, 1, 0)]


def test_pings_go_on_for_as_long_as_the_tree_lives(start: Start, systemd: Systemd) -> None:
    """WATCHDOG=1 comes again and again: while children start, while they run, and while they drain."""
    program = start("slow_both_ways", environ={**systemd.environ, "WATCHDOG_USEC": "100000"})
    program.out.expect("patient starting")
    _hear_pings(systemd)
    assert "READY=1" not in systemd.heard
    program.say("go on")
    systemd.hear("READY=1")
    _hear_pings(systemd)
    program.send(signal.SIGTERM)
    program.out.expect("patient going down")
    systemd.hear("STOPPING=1")
    _hear_pings(systemd)
    program.say("go on")
    assert program.wait() == ExitCode.CLEAN


def _hear_pings(systemd: Systemd) -> None:
    systemd.hear_all()
    for _ in range(3):
        systemd.hear("WATCHDOG=1")


def test_a_blocked_loop_does_not_ping(start: Start, systemd: Systemd) -> None:
    """While the event loop is blocked systemd hears nothing, so that it may act."""
    environ = {**systemd.environ, "WATCHDOG_USEC": "100000"}
    program = start("tests.process.hostile:blocked", "--loop-block-warn", "0.3", environ=environ)
    program.out.expect("blocked")
    systemd.hear_all()
    program.event("loop_blocked")
    assert "WATCHDOG=1" not in _news(systemd)
    program.say("go on")
    systemd.hear("WATCHDOG=1")


def _news(systemd: Systemd) -> list[str]:
    before = len(systemd.heard)
    return systemd.hear_all()[before:]


@pytest.mark.parametrize(("app", "code"), [("bad_start", ExitCode.NO_START), ("hesitant", ExitCode.CLEAN)])
def test_a_process_that_never_ran_was_never_ready(start: Start, systemd: Systemd, app: str, code: ExitCode) -> None:
    """A start that fails or is called off is not reported as READY=1."""
    program = start(app, environ=systemd.environ)
    if app == "hesitant":
        program.out.expect("hesitant starting")
        program.send(signal.SIGTERM)
        program.event("shutdown_began")
        program.say("go on")
    assert program.wait() == code
    assert "READY=1" not in systemd.hear_all()


def test_grandchildren_do_not_inherit_the_socket(start: Start, systemd: Systemd) -> None:
    """A process that an actor starts cannot speak to systemd in our name: the variables are gone."""
    program: Program = start("parent", environ={**systemd.environ, "WATCHDOG_USEC": "60000000", "KEPT": "1"})
    assert program.out.expect("inherited:") == "inherited: KEPT"
    systemd.hear("READY=1")


def test_a_vanished_systemd_disturbs_nothing(start: Start) -> None:
    """With a notification socket that nobody listens on the process runs and stops as ever."""
    program = start("idle", environ={"NOTIFY_SOCKET": str(start.folder / "gone"), "WATCHDOG_USEC": "100000"}).ready()
    assert program.end() == ExitCode.CLEAN
