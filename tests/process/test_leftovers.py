"""What user code leaves running when the tree has ended: the process names it, and leaves it behind."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.program import HASTY, HOSTILE

if TYPE_CHECKING:
    from tests.process.conftest import Start


def test_a_stray_task_that_cannot_be_cancelled_ends_with_75(start: Start) -> None:
    """A task outside the tree that ignores its cancel is named in the log, and the process ends with 75."""
    program = start(f"{HOSTILE}:stray")
    program.out.expect("stray goes on")
    assert program.end() == ExitCode.ABANDONED
    assert program.event("left_behind")["names"] == ["task stray"]
    assert program.out.lines[-1] == "straying down"


def test_a_stray_task_that_can_be_cancelled_is_cancelled(start: Start) -> None:
    """A task outside the tree is cancelled after the tree has ended; if it obeys, the end is clean."""
    program = start(f"{HOSTILE}:obedient_stray")
    program.out.expect("stray goes on")
    assert program.end() == ExitCode.CLEAN
    assert not program.events("left_behind")


@pytest.mark.parametrize(
    ("app", "name", "stage"),
    [
        ("thread", "hopeless", "draining"),
        ("abandoned_call", "AnyIO worker thread", "cancelling"),
        ("shielded_call", "AnyIO worker thread", "killing"),
        ("executor_call", "default-executor_0", "cancelling"),
    ],
)
def test_a_thread_that_never_ends_is_left_behind(start: Start, app: str, name: str, stage: str) -> None:
    """A thread that cannot be stopped is named in the log and does not keep the process: it ends with 75."""
    program = start.python(*HASTY, f"{HOSTILE}:{app}", str(start.folder))
    program.out.expect("thread runs")
    assert program.end() == ExitCode.ABANDONED
    assert program.event("left_behind")["names"] == [f"thread {name}"]
    assert program.event("child_exited", generation=1)["outcome"] == f"stopped while {stage}"


def test_used_threads_are_no_leftovers(start: Start) -> None:
    """Threads that have done their work, of anyio and of the default executor, do not spoil a clean end."""
    program = start("threaded")
    program.out.expect("used threads")
    assert program.end() == ExitCode.CLEAN
    assert not program.events("left_behind")


def test_what_is_left_does_not_change_the_code_of_a_failed_start(start: Start) -> None:
    """A start that fails and leaves a thread behind still ends with 69, and names the thread."""
    program = start.python(*HASTY, f"{HOSTILE}:thread_and_bad_start", str(start.folder))
    assert program.wait() == ExitCode.NO_START
    assert program.event("left_behind")["names"] == ["thread hopeless"]


def test_output_is_not_lost_at_the_end(start: Start) -> None:
    """What was printed to a pipe is flushed although the process leaves without the interpreter's own end."""
    program = start.python(*HASTY, f"{HOSTILE}:unflushed", str(start.folder), environ={"PYTHONUNBUFFERED": ""})
    program.ready()
    assert program.end() == ExitCode.ABANDONED
    assert program.out.lines[-1] == "not flushed"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_does_not_keep_a_process(start: Start, stream: str) -> None:
    """A process that has to leave something behind leaves although nobody reads its output any more."""
    environ = {"PYTHONUNBUFFERED": ""}
    program = start.python(*HASTY, f"{HOSTILE}:unheard_{stream}", str(start.folder), environ=environ)
    program.ready()
    assert program.end() == ExitCode.ABANDONED


def test_an_endless_generator_is_left_behind(start: Start) -> None:
    """An async generator whose cleanup never ends holds the process up no longer than a task would: it ends with 75."""
    program = start.python(*HASTY, f"{HOSTILE}:generator", str(start.folder))
    program.out.expect("number 1")
    assert program.end() == ExitCode.ABANDONED


def test_a_daemon_thread_is_nobodys_business(start: Start) -> None:
    """A daemon thread that never ends does not hold up or spoil a clean end."""
    program = start(f"{HOSTILE}:daemon")
    program.out.expect("thread runs")
    assert program.end(signal.SIGINT) == ExitCode.CLEAN
