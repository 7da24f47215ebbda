"""A blocked loop is reported while it is blocked, with the line to look at; other pauses are not mistaken for one."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import select
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError
from supervisor.process.deadman import NullDeadMan
from supervisor.process.exit_code import ExitCode
from supervisor.process.watchdog import LoopBlock, LoopWatchdog, _guilty
from tests.process.child import child, line, say
from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

LIMIT = 10.0
WARN = 0.1

PROGRAM = """
import asyncio, sys, time
import uvloop
from supervisor.process.deadman import CDeadMan
from supervisor.process.watchdog import LoopWatchdog

def report(block):
    kind = "suspended" if block.suspended else "ended" if block.ended else "blocked"
    print(kind, block.task, block.where, block.seconds)

def guilty():
    time.sleep(60)

async def main():
    asyncio.current_task().set_name("victim")
    LoopWatchdog(report, CDeadMan(), limit=float(sys.argv[2]), warn=0.3, interval=0.1).start()
    await asyncio.sleep(0)
    if sys.argv[3] == "block":
        guilty()
    print("up")
    await asyncio.to_thread(sys.stdin.readline)

(uvloop.run if sys.argv[1] == "uvloop" else asyncio.run)(main())
"""


class Reports:
    """Collects reports and lets a blocking function wait for them, so that no block is longer than it must be."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[LoopBlock] = queue.SimpleQueue()

    def __call__(self, block: LoopBlock) -> None:
        self.queue.put(block)

    def wait(self, matches: Callable[[LoopBlock], bool]) -> LoopBlock:
        """Block the caller's thread until such a report comes."""
        while not matches(block := self.queue.get(timeout=LIMIT)):
            pass
        return block


class Recorder(NullDeadMan):
    """A dead-man timer that writes down what it is told."""

    def __init__(self, enough: int) -> None:
        self.calls: list[float | str] = []
        self.enough = asyncio.Event()
        self._wanted = enough

    def arm(self, seconds: float) -> None:
        self.calls.append(seconds)
        if len(self.calls) >= self._wanted:
            self.enough.set()

    def disarm(self) -> None:
        self.calls.append("disarm")


def watchdog(report: Callable[[LoopBlock], None]) -> LoopWatchdog:
    """Build a watchdog that is quicker than the real one."""
    return LoopWatchdog(report, NullDeadMan(), limit=60, warn=WARN, interval=WARN / 2)


def is_block(block: LoopBlock) -> bool:
    """Tell the first and repeated reports of a block from everything else."""
    return not block.ended and not block.suspended


def guilty(reports: Reports, count: int = 1) -> list[LoopBlock]:
    """Block the loop until it has been reported `count` times."""
    return [reports.wait(is_block) for _ in range(count)]


def threads() -> int:
    """Count the watchdogs' threads."""
    return sum(thread.name == "loop-watchdog" for thread in threading.enumerate())


async def test_a_block_is_reported_while_it_lasts_and_when_it_ends() -> None:
    """The report names task, file, line, function and stack; the last one has the whole duration."""
    reports = Reports()
    watched = watchdog(reports)
    watched.start()
    task = asyncio.current_task()
    assert task is not None
    task.set_name("victim")
    (block,) = guilty(reports)
    assert block.task == "victim"
    assert block.where is not None
    assert re.fullmatch(re.escape(__file__) + r":\d+ Reports\.wait", block.where)
    assert "in guilty" in block.stack
    assert block.seconds > WARN
    ended = await asyncio.to_thread(reports.wait, lambda report: report.ended and report.where == block.where)
    assert (ended.task, ended.stack) == (block.task, block.stack)
    assert watched.stop()


async def test_a_long_block_is_reported_at_doubling_intervals() -> None:
    """Each further report comes after at least twice the time of the one before it was due."""
    reports = Reports()
    watched = watchdog(reports)
    watched.start()
    blocks = guilty(reports, 3)
    assert all(block.seconds > WARN * 2**index for index, block in enumerate(blocks))
    assert watched.stop()


async def test_a_blocking_callback_has_no_task() -> None:
    """When a plain callback blocks, the task is None and the line is the callback's."""
    reports = Reports()
    watched = watchdog(reports)
    watched.start()
    found: asyncio.Future[list[LoopBlock]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: found.set_result(guilty(reports)))
    async with asyncio.timeout(LIMIT):
        (block,) = await found
    assert block.task is None
    assert block.where is not None
    assert __file__ in block.where
    assert watched.stop()


async def test_a_call_that_holds_the_interpreter_is_a_block_and_not_a_pause() -> None:
    """A C call that lets no thread run is reported, at the latest when it returns, and not as a suspended process."""
    reports = Reports()
    watched = watchdog(reports)
    watched.start()
    await asyncio.sleep(0)
    re.match(r"(a+)+$", "a" * 24 + "b")
    block = await asyncio.to_thread(reports.queue.get, timeout=LIMIT)
    assert not block.suspended
    assert watched.stop()


async def test_a_report_that_fails_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the subscriber is logged, and the next report is still made."""
    reports = Reports()

    def failing(block: LoopBlock) -> None:
        reports(block)
        raise ValueError("no room for reports")

    watched = watchdog(failing)
    watched.start()
    assert len(guilty(reports, 2)) == 2
    assert watched.stop()
    assert "no room for reports" in caplog.text


async def test_stopping_tells_of_a_block_that_has_just_ended() -> None:
    """A block that ends with the stop of the watchdog is reported as ended before `stop` returns."""
    reports = Reports()
    watched = watchdog(reports)
    watched.start()
    guilty(reports)
    assert watched.stop(LIMIT)
    assert reports.wait(lambda block: block.ended and not block.suspended).where is not None


async def test_starting_and_stopping_are_idempotent_and_leave_no_thread() -> None:
    """However often it is started and stopped, there is one thread at most and none in the end."""
    watched = watchdog(Reports())
    assert watched.stop()
    for _ in range(20):
        watched.start()
        watched.start()
        assert threads() == 1
        assert watched.stop()
        assert watched.stop()
        assert threads() == 0


async def test_stopping_does_not_wait_for_a_stuck_report() -> None:
    """A subscriber that never returns costs the loop no more than the given time, and its thread ends after it."""
    entered, release = threading.Event(), threading.Event()

    def stuck(block: LoopBlock) -> None:
        entered.set()
        release.wait(LIMIT)

    watched = watchdog(stuck)
    watched.start()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "loop-watchdog"]
    assert entered.wait(LIMIT)
    assert not watched.stop(0.01)
    release.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


async def test_the_dead_man_timer_is_armed_again_and_again_and_disarmed_at_the_stop() -> None:
    """The beat keeps the timer armed with the limit; a stopped watchdog leaves no timer behind."""
    deadman = Recorder(enough=3)
    watched = LoopWatchdog(Reports(), deadman, limit=0.4, warn=WARN, interval=WARN / 4)
    watched.start()
    assert deadman.calls == [0.4]
    async with asyncio.timeout(LIMIT):
        await deadman.enough.wait()
    assert watched.stop()
    assert set(deadman.calls[:-1]) == {0.4}
    assert deadman.calls[-1] == "disarm"


@pytest.mark.parametrize(
    ("interval", "warn", "limit"), [(0.0, 0.5, 20.0), (0.5, 0.5, 20.0), (0.25, 20.0, 20.0), (0.25, 0.5, float("nan"))]
)
def test_times_in_the_wrong_order_are_refused(interval: float, warn: float, limit: float) -> None:
    """The error names the three settings and the order they must have."""
    with pytest.raises(ConfigError, match=r"loop_block_limit = .* greater than the one before"):
        LoopWatchdog(Reports(), NullDeadMan(), limit=limit, warn=warn, interval=interval)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_that_stays_away_is_named_first_and_then_the_process_ends(loop: str) -> None:
    """The guilty line is reported as a warning, and at the limit the dead-man timer ends the process with stacks."""
    with child(PROGRAM, loop, "1.0", "block") as process:
        kind, task, where, function, _ = line(process.stdout).split()
        _, err = process.communicate()
    assert (kind, task, function) == ("blocked", "victim", "guilty")
    assert where.startswith("<string>:")
    assert process.returncode == ExitCode.DEAD_MAN
    assert "guilty" in err


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stopped_process_is_not_a_blocked_loop(loop: str) -> None:
    """After SIGSTOP and SIGCONT the pause is reported as one of the whole process, and no code is blamed."""
    with child(PROGRAM, loop, "30", "idle") as process:
        assert line(process.stdout) == "up"
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert process.stdout is not None
        assert not select.select([process.stdout], [], [], 1.0)[0], "a stopped process says nothing"
        process.send_signal(signal.SIGCONT)
        kind, task, where, _ = line(process.stdout).split()
        assert (kind, task, where) == ("suspended", "None", "None")
        say(process.stdin, "end")
        assert "blocked" not in process.stdout.read()


OUTSIDE = "/app/main.py"
OWN = "/app/shop.py"
INSTALLED = "/app/.venv/lib/python3.11/site-packages/library/core.py"
STDLIB = str(Path(os.__file__).parent / "json" / "decoder.py")
LOOP = str(Path(asyncio.__file__).parent / "base_events.py")
RUNTIME = str(ROOT / "supervisor" / "tree" / "incarnation.py")


def frames(*paths: str) -> list[tuple[FrameType, int]]:
    """Build a stack, innermost first, of functions that pretend to come from these files."""
    found: list[tuple[FrameType, int]] = []
    for path in paths:
        scope: dict[str, FrameType] = {}
        name = "_run_once" if path == LOOP else "work"
        exec(compile(f"import sys\ndef {name}():\n return sys._getframe()\nframe = {name}()", path, "exec"), scope)  # noqa: S102
        found.append((scope["frame"], 3))
    return found


@pytest.mark.parametrize(
    ("stack", "path"),
    [
        ((STDLIB, INSTALLED, OWN, RUNTIME, LOOP, OUTSIDE), OWN),
        ((STDLIB, INSTALLED, RUNTIME, LOOP, OUTSIDE), INSTALLED),
        ((STDLIB, RUNTIME, LOOP, OUTSIDE), STDLIB),
        (("<frozen importlib._bootstrap>", OWN, LOOP), OWN),
        ((LOOP, OUTSIDE), OUTSIDE),
    ],
    ids=["own", "installed", "neither", "frozen", "idle"],
)
def test_the_guilty_line_is_one_its_reader_can_change(stack: tuple[str, ...], path: str) -> None:
    """Own code is named before installed packages, those before anything else, and never what started the loop."""
    assert _guilty(frames(*stack)) == f"{path}:3 work"
