"""The last resort works when nothing else does: blocked loop, held interpreter, stuck stderr."""

from __future__ import annotations

import faulthandler
import signal
import subprocess
from pathlib import Path

import pytest

from supervisor.process.deadman import CDeadMan, DeadMan, NullDeadMan, register_dumps
from supervisor.process.exit_code import ExitCode
from tests.process.child import child, line, say

BLOCKED = """
import asyncio, io, os, re, sys, threading, time
from supervisor.process.deadman import CDeadMan

def tick():
    time.sleep(0.1)
    print("another thread ran")

def guilty_sleep():
    time.sleep(60)

def guilty_regex():
    re.match(r"(a+)+$", "a" * 60 + "b")

def guilty_write():
    while True:
        os.write(2, b"x" * 4096)

async def main():
    sys.stderr = io.StringIO()
    CDeadMan().arm(0.4)
    threading.Thread(target=tick, daemon=True).start()
    globals()[sys.argv[1]]()

asyncio.run(main())
"""

HELD = """
import os, sys
from supervisor.process.deadman import CDeadMan

def waiting():
    sys.stdin.readline()

deadman = CDeadMan()
deadman.hold(0.3)
for escape in (lambda: deadman.arm(60), deadman.disarm, lambda: deadman.hold(60)):
    escape()
waiting()
"""

DISARMED = """
import sys
from supervisor.process.deadman import CDeadMan

deadman = CDeadMan()
deadman.arm(0.2)
if sys.argv[1] == "close":
    deadman.hold(0.2)
getattr(deadman, sys.argv[1])()
print(deadman.armed)
sys.stdin.readline()
"""

DUMPED = """
import asyncio, resource, signal, sys
from supervisor.process.deadman import register_dumps

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
undo = register_dumps()

def guilty_wait():
    print("blocked")
    sys.stdin.readline()

async def main():
    guilty_wait()
    print("alive")

asyncio.run(main())
undo()
print("undone")
sys.stdin.readline()
"""


@pytest.mark.parametrize(("guilty", "others_run"), [("guilty_sleep", True), ("guilty_regex", False)])
def test_a_blocked_process_ends_with_code_1_and_stacks(guilty: str, *, others_run: bool) -> None:
    """The timer fires although `sys.stderr` was replaced, also while one C call holds the interpreter."""
    with child(BLOCKED, guilty) as process:
        out, err = process.communicate()
    assert process.returncode == ExitCode.DEAD_MAN
    assert guilty in err
    assert ("another thread ran" in out) is others_run


def test_a_stderr_that_nobody_reads_does_not_keep_the_process_alive() -> None:
    """With stderr a full pipe the stacks are lost and the exit is not."""
    with child(BLOCKED, "guilty_write") as process:
        assert process.wait() == ExitCode.DEAD_MAN


def test_stacks_are_appended_to_a_file(tmp_path: Path) -> None:
    """With stderr a regular file the stacks follow what was written before."""
    log = tmp_path / "log"
    with log.open("w") as stderr:
        stderr.write("earlier\n")
        stderr.flush()
        with child(BLOCKED, "guilty_sleep", stderr=stderr) as process:
            assert process.wait() == ExitCode.DEAD_MAN
    text = log.read_text()
    assert text.startswith("earlier\n")
    assert "guilty_sleep" in text


def test_a_held_timer_cannot_be_pushed_away() -> None:
    """After `hold` neither arming, disarming nor a second hold keeps the process alive."""
    with child(HELD) as process:
        assert process.wait() == ExitCode.DEAD_MAN
        assert process.stderr is not None
        assert "waiting" in process.stderr.read()


@pytest.mark.parametrize("how", ["disarm", "close"])
def test_a_stopped_timer_does_not_fire(how: str) -> None:
    """A disarmed timer, or a held one that was closed, lets the process live beyond its time."""
    with child(DISARMED, how) as process:
        assert line(process.stdout) == "False"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        say(process.stdin, "end")
        assert process.wait() == ExitCode.CLEAN


def test_sigquit_shows_the_guilty_line_and_the_process_lives_on() -> None:
    """SIGQUIT dumps at once although the loop is blocked; afterwards the process goes on as if nothing had happened."""
    with child(DUMPED) as process:
        assert line(process.stdout) == "blocked"
        process.send_signal(signal.SIGQUIT)
        while "guilty_wait" not in (text := line(process.stderr)):
            assert text
        say(process.stdin, "go on")
        assert line(process.stdout) == "alive"
        assert line(process.stdout) == "undone"
        process.send_signal(signal.SIGQUIT)
        assert process.wait() == -signal.SIGQUIT


class Timer:
    """Stands in for faulthandler's timer and writes down what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[float | str] = []
        self.works = True
        monkeypatch.setattr(faulthandler, "dump_traceback_later", self.later)
        monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: self.calls.append("cancel"))

    def later(self, seconds: float, *, exit: bool, file: int) -> None:  # noqa: A002 - faulthandler's name
        assert exit
        if not self.works:
            raise RuntimeError("unable to start watchdog thread")
        self.calls.append(seconds)


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Replace the one timer of this process, which pytest may want to use."""
    return Timer(monkeypatch)


def test_arming_starts_the_timer_anew_until_it_is_held(timer: Timer) -> None:
    """Each `arm` restarts the timer, `hold` does so for the last time, and only `close` ends that."""
    deadman = CDeadMan()
    deadman.arm(20)
    deadman.arm(20)
    armed = [deadman.armed]
    deadman.disarm()
    deadman.disarm()
    armed.append(deadman.armed)
    deadman.hold(28)
    deadman.arm(20)
    deadman.disarm()
    deadman.hold(28)
    armed.append(deadman.armed)
    assert timer.calls == [20, 20, "cancel", 28]
    deadman.close()
    armed.append(deadman.armed)
    assert timer.calls[4:] == ["cancel"]
    assert armed == [True, False, True, False]


def test_a_deadline_in_the_past_means_now(timer: Timer) -> None:
    """A hard deadline that has passed already fires at once instead of being refused."""
    deadman = CDeadMan()
    deadman.hold(-1.0)
    assert timer.calls == [0.001]
    deadman.close()


def test_a_process_that_can_start_no_thread_is_not_disturbed(timer: Timer) -> None:
    """When the timer cannot start it is off and says so, and the next attempt may succeed."""
    deadman = CDeadMan()
    armed = []
    for works in (True, False, True):
        timer.works = works
        deadman.arm(20)
        armed.append(deadman.armed)
    assert armed == [True, False, True]
    deadman.close()


def test_the_null_timer_is_never_armed() -> None:
    """The stand-in for embedding programs takes every call and never fires."""
    deadman: DeadMan = NullDeadMan()
    deadman.arm(0.001)
    deadman.hold(0.001)
    deadman.disarm()
    deadman.close()
    assert not deadman.armed


def test_dumps_and_timers_leave_no_descriptor_open() -> None:
    """Registering, undoing and closing many times opens no file for good."""
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        register_dumps()()
        CDeadMan().close()
    assert len(list(Path("/dev/fd").iterdir())) == before
