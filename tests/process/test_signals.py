"""What signals do to a whole process: three of them end it, ever faster, and two show what it is doing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.program import DUMPED, HASTY, HOSTILE

if TYPE_CHECKING:
    from tests.process.conftest import Start
    from tests.process.program import Program


def test_a_second_signal_collapses_the_drain(start: Start) -> None:
    """After a second stop signal a child that may drain for 30 s is cancelled 2 s later, and the end is still clean."""
    program = start("slow").ready()
    program.send(signal.SIGTERM)
    program.event("stop_stage", path="root/slow", stage="draining")
    program.send(signal.SIGTERM)
    assert program.wait() == ExitCode.CLEAN
    assert program.event("shutdown_hurried")["drain"] == 2.0
    assert program.event("stop_stage", path="root/slow", stage="cancelling")
    assert program.out.lines == ["one up", "one down"]


@pytest.mark.parametrize("last", [signal.SIGTERM, signal.SIGINT])
def test_a_third_signal_ends_the_process_at_once(start: Start, last: signal.Signals) -> None:
    """The third stop signal waits for nothing: the exit code is 128 plus its number, as a shell reports it."""
    program = start("slow").ready()
    program.send(signal.SIGTERM)
    program.event("shutdown_began")
    program.send(signal.SIGINT)
    program.event("shutdown_hurried", reason="second signal, SIGINT")
    program.send(last)
    assert program.wait() == 128 + last
    assert "one down" not in program.out.lines
    assert "third signal" in program.err.lines[-1]


def test_a_third_signal_ends_a_blocked_process(start: Start) -> None:
    """The third stop signal works also when the event loop is blocked by a teardown that waits for ever."""
    program = start(f"{HOSTILE}:blocking_teardown").ready()
    program.send(signal.SIGTERM)
    program.out.expect("blocked")
    program.until(lambda: _ended_by(program, signal.SIGTERM), "the end")
    assert program.wait() == 128 + signal.SIGTERM


def test_a_second_signal_does_not_cut_what_goes_well(start: Start) -> None:
    """A second stop signal leaves a teardown that is under way its time."""
    program = start("patient").ready()
    program.send(signal.SIGTERM)
    program.out.expect("patient going down")
    program.send(signal.SIGTERM)
    program.event("shutdown_hurried")
    program.say("go on")
    assert program.wait() == ExitCode.CLEAN
    assert program.out.lines[-2:] == ["patient down", "one down"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_heeded_to_the_very_end(start: Start, number: signal.Signals) -> None:
    """While a process waits for threads after its tree has ended, no signal falls back to its default action."""
    program = start.python(*HASTY, f"{HOSTILE}:thread", str(start.folder))
    program.out.expect("thread runs")
    program.send(signal.SIGTERM)
    program.event("child_exited", path="root")
    program.until(lambda: _ended_by(program, number), "the end")
    assert program.wait() in {ExitCode.ABANDONED, 128 + number}
    assert "KeyboardInterrupt" not in "\n".join(program.err.lines)


def _ended_by(program: Program, number: signal.Signals) -> bool:
    program.send(number)
    return program.process.poll() is not None


def test_sigquit_shows_all_stacks_of_a_blocked_process(start: Start) -> None:
    """SIGQUIT writes the stacks of all threads while the loop is blocked; the process lives on and stops cleanly."""
    program = start(f"{HOSTILE}:blocked")
    program.out.expect("blocked")
    program.send(signal.SIGQUIT)
    program.err.expect("in guilty_wait")
    program.err.expect("Current thread")
    program.say("go on")
    program.out.expect("alive")
    assert program.end() == ExitCode.CLEAN


def test_sigusr1_writes_one_line_for_each_node(start: Start) -> None:
    """SIGUSR1 writes one JSON line for each node, in start order, and the process goes on as before."""
    program = start("idle").ready()
    program.send(signal.SIGUSR1)
    program.dumped("root/three")
    dumped = [row for row in program.rows() if row.keys() >= DUMPED]
    assert [row["path"] for row in dumped] == ["root", "root/one", "root/two", "root/three"]
    for row in dumped:
        assert "await" in row["stack"]
    one = dumped[1]
    assert (one["state"], one["stage"], one["generation"], one["mailbox"], one["restarts"]) == (
        "running",
        None,
        1,
        0,
        0,
    )
    assert 0 <= one["last_progress"] <= one["age"]
    assert program.end() == ExitCode.CLEAN


def test_sigusr1_shows_what_a_drain_waits_for(start: Start) -> None:
    """During a shutdown SIGUSR1 names the child that is stopping, its stage, and where it stands."""
    program = start("slow").ready()
    program.send(signal.SIGTERM)
    program.event("stop_stage", path="root/slow")
    program.send(signal.SIGUSR1)
    row = program.dumped("root/slow")
    assert (row["state"], row["stage"]) == ("stopping", "draining")
    assert "in Slow.run" in row["stack"]
