"""A process whose event loop is blocked says so while it lasts, and ends itself when it lasts too long."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.program import HASTY, HOSTILE

if TYPE_CHECKING:
    from tests.process.conftest import Start


def test_a_blocked_loop_is_reported_while_it_is_blocked(start: Start) -> None:
    """The report names the guilty line and the actor's path and comes while it lasts; another says when it is over."""
    program = start(f"{HOSTILE}:blocked", "--loop-block-warn", "0.2")
    report = program.event("loop_blocked", path="root/blocker", ended=False)
    assert report["level"] == "warning"
    assert report["where"].endswith("Blocked.guilty_wait")
    assert "tests/process/hostile.py:" in report["where"]
    assert "sys.stdin.readline()" in report["stack"]
    assert report["seconds"] >= 0.2
    program.say("go on")
    over = program.event("loop_blocked", path="root/blocker", ended=True)
    assert over["seconds"] >= report["seconds"]
    assert program.end() == ExitCode.CLEAN


@pytest.mark.parametrize(("app", "guilty"), [("blocked", "guilty_wait"), ("held", "guilty_match")])
def test_a_process_blocked_for_too_long_ends_itself(start: Start, app: str, guilty: str) -> None:
    """Beyond `loop_block_limit` the dead-man timer ends the process, also when one C call holds it."""
    program = start(f"{HOSTILE}:{app}", "--loop-block-warn", "0.3", "--loop-block-limit", "1.5")
    assert program.wait() == ExitCode.DEAD_MAN
    told = "\n".join(program.err.lines)
    assert "Timeout" in told
    assert f"in {guilty}" in told
    assert "one down" not in program.out.lines


def test_no_limit_means_no_end(start: Start) -> None:
    """With `loop_block_limit` 0 a block is reported and survived."""
    program = start(f"{HOSTILE}:blocked", "--loop-block-warn", "0.1", "--loop-block-limit", "0")
    program.out.expect("blocked")
    program.until(lambda: len(program.events("loop_blocked")) > 2, "the third report")
    program.say("go on")
    program.out.expect("alive")
    assert program.end() == ExitCode.CLEAN


def test_a_stop_that_blocks_the_loop_ends_at_the_hard_deadline(start: Start) -> None:
    """A teardown that blocks the loop cannot outlast the shutdown: the dead-man timer ends the process with 1."""
    program = start.python(*HASTY, f"{HOSTILE}:blocking_teardown", str(start.folder))
    program.ready().send(signal.SIGTERM)
    program.out.expect("blocked")
    assert program.wait() == ExitCode.DEAD_MAN
    assert "in teardown" in "\n".join(program.err.lines)
    assert "one down" not in program.out.lines


@pytest.mark.soak
def test_the_hard_deadline_is_three_seconds_after_the_total(start: Start) -> None:
    """With the least `shutdown_timeout` the command line allows this end comes after 13 s."""
    program = start(f"{HOSTILE}:blocking_teardown", "--shutdown-timeout", "10", "--loop-block-limit", "3", limit=50.0)
    program.ready().send(signal.SIGTERM)
    program.out.expect("blocked")
    assert program.process.wait(50.0) == ExitCode.DEAD_MAN
    assert any(report["seconds"] > 6 for report in program.events("loop_blocked"))


def test_a_blocked_loop_delays_the_stop_and_does_not_lose_it(start: Start) -> None:
    """A stop signal that comes during a block is heeded right after it."""
    program = start(f"{HOSTILE}:blocked")
    program.out.expect("blocked")
    program.send(signal.SIGTERM)
    program.say("go on")
    assert program.wait() == ExitCode.CLEAN
    assert program.out.lines == ["one up", "blocker up", "blocked", "alive", "blocker down", "one down"]
