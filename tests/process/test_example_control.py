"""The control example stops two workers in every way there is, counts what starts all the same, and cleans up."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.process.test_example_orders import is_alive

if TYPE_CHECKING:
    from tests.process.conftest import Start
    from tests.process.program import Program

LONG = 150.0


def left(program: Program) -> list[int]:
    """The workers named in its output that still live; there were two."""
    named = {int(pid) for line in program.out.lines for pid in re.findall(r"\bpid (\d+)", line)}
    assert len(named) == 2
    return sorted(pid for pid in named if is_alive(pid))


@pytest.mark.timeout(180)
def test_nothing_starts_that_was_stopped(start: Start) -> None:
    """It says so itself with exit code 0, shows who has confirmed and who has not, and leaves no process behind."""
    program = start.python("-m", "examples.control", limit=LONG)
    assert program.process.wait(LONG) == 0, "\n".join(program.out.lines + program.err.lines)
    program.wait()
    text = "\n".join(program.out.lines)
    assert "nothing started that was stopped" in text
    assert "WRONG" not in text
    assert text.count("confirmed   2/2 workers") == 4
    assert "confirmed   1/2 workers after 1" in text
    assert "the audit log is whole: 4 entries" in text
    assert left(program) == []


@pytest.mark.timeout(180)
def test_it_cleans_up_when_it_is_stopped(start: Start) -> None:
    """A stop in the middle ends the workers too, also the one that stands still."""
    program = start.python("-m", "examples.control", limit=LONG)
    program.out.find(lambda line: "west stands still" in line, "headline", LONG)
    assert program.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert left(program) == []
