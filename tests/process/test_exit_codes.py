"""How a process ends, seen from outside: its exit code, the order of its last words, and what it says about it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import SupervisorError
from supervisor.process.exit_code import ExitCode
from tests.process.program import LEAVING
from tests.source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.conftest import Start
    from tests.process.program import Program

UP = ["one up", "two up", "three up"]
DOWN = ["three down", "two down", "one down"]


def _last(program: Program) -> dict[str, object]:
    """Return the last line of its log."""
    return program.rows()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_asked_stop_is_clean(start: Start, number: signal.Signals) -> None:
    """The first stop signal stops the children in the reverse of their start order, and the process ends with 0."""
    program = start("idle").ready()
    assert program.end(number) == ExitCode.CLEAN
    assert program.out.lines == UP + DOWN
    assert [row["path"] for row in program.events("phase_done")] == ["root/three", "root/two", "root/one"]
    assert program.event("shutdown_began")["reason"] == number.name


def test_the_last_line_of_the_log_says_how_it_ended(start: Start) -> None:
    """The log ends with the exit code and its meaning."""
    program = start("idle").ready()
    program.end()
    last = _last(program)
    assert (last["event"], last["code"], last["meaning"]) == ("process_exit", 0, ExitCode.CLEAN.meaning)


def test_a_stop_during_the_start_is_clean(start: Start) -> None:
    """A stop that comes while a child starts stops those already started, and is no failed start."""
    program = start("hesitant")
    program.out.expect("hesitant starting")
    program.send(signal.SIGTERM)
    program.event("stop_stage", path="root/hesitant")
    program.say("go on")
    assert program.wait() == ExitCode.CLEAN
    assert program.out.lines[:2] == ["one up", "hesitant starting"]
    assert "three up" not in program.out.lines
    assert program.out.lines[-1] == "one down"
    assert not program.events("process_ready")


def test_a_failed_start_ends_with_69(start: Start) -> None:
    """When a child cannot be set up at first, those before it stop in reverse and stderr names child and cause."""
    program = start("bad_start")
    assert program.wait() == ExitCode.NO_START
    assert program.out.lines == ["one up", "two up", "two down", "one down"]
    (told,) = (row for row in program.rows() if row["level"] == "critical")
    assert "root/bad" in told["event"]
    assert "port 80 is in use" in told["event"]
    assert "OSError" in told["exception"]
    assert not program.events("child_restarting")
    assert not program.events("process_ready")
    assert _last(program)["code"] == ExitCode.NO_START


def test_a_crash_storm_ends_with_70(start: Start) -> None:
    """A child that crashes whenever it starts is restarted five times; then the rest stops and the process ends."""
    program = start("storm")
    assert program.wait() == ExitCode.GAVE_UP
    assert [row["restarts"] for row in program.events("child_restarting")] == [1, 2, 3, 4, 5]
    assert len(program.events("child_started", path="root/crashing")) == 6
    assert program.out.lines == ["one up", "one down"]
    gave_up = program.event("gave_up")
    assert (gave_up["path"], gave_up["child"], gave_up["level"]) == ("root", "crashing", "critical")
    assert program.event("shutdown_began")["reason"] == "the root supervisor gave up"


def test_a_stubborn_child_ends_with_75(start: Start) -> None:
    """A child that survives its stop is given up with its stack in the log; the others stop in peace and in order."""
    program = start("stubborn").ready()
    assert program.end() == ExitCode.ABANDONED
    assert program.out.lines == ["one up", "three up", "three down", "one down"]
    assert "await asyncio.sleep" in program.event("child_abandoned", path="root/stubborn")["stack"]
    assert program.event("left_behind")["names"] == ["actor root/stubborn"]
    assert _last(program)["code"] == ExitCode.ABANDONED


def test_each_child_ends_in_its_stage(start: Start) -> None:
    """A polite child drains, a slow one is cancelled, a shielded one killed, and a stubborn one abandoned."""
    program = start("stages").ready()
    assert program.end() == ExitCode.ABANDONED
    ends = {row["path"]: row["outcome"] for row in program.events("child_exited")}
    assert ends == {
        "root/stubborn": "abandoned",
        "root/shielded": "stopped while killing",
        "root/slow": "stopped while cancelling",
        "root/polite": "stopped while draining",
        "root": "stopped while draining",
    }


def test_a_restart_that_cannot_stop_the_old_life_ends_with_75(start: Start) -> None:
    """No second incarnation starts beside one that survived its stop: the whole process recycles."""
    program = start("stubborn").ready()
    with pytest.raises(SupervisorError):
        program.ask("restart", path="root/stubborn")
    assert program.wait() == ExitCode.ABANDONED
    assert len(program.events("child_started", path="root/stubborn")) == 1
    assert program.out.lines[-2:] == ["three down", "one down"]


def test_a_drain_is_cut_by_the_shutdown_timeout(start: Start) -> None:
    """A child whose own limit is longer than the whole shutdown is cancelled in time for a clean end."""
    program = start("slow", "--shutdown-timeout", "10").ready()
    assert program.events("process_ready")[0]["stop_limit"] > 10
    assert program.end() == ExitCode.CLEAN
    assert program.event("stop_stage", path="root/slow", stage="cancelling")


@pytest.mark.parametrize(
    ("app", "code"),
    [
        ("in_run", 3),
        ("in_group", 3),
        ("in_stray", 3),
        ("in_callback", 3),
        ("interrupted", 130),
        ("interrupted_group", 130),
    ],
)
def test_an_actor_may_end_the_process(start: Start, app: str, code: int) -> None:
    """Wherever user code raises SystemExit or KeyboardInterrupt, all actors stop in order and its code is the end."""
    program = start(f"{LEAVING}:{app}")
    assert program.wait() == code
    downs = [line for line in program.out.lines if line.endswith("down")]
    assert downs[-1] == "one down"
    assert sorted(downs) == ["leaving down", "one down", "three down"]
    assert program.event("process_exit")["code"] == code


def test_an_actor_may_end_the_process_while_it_starts(start: Start) -> None:
    """SystemExit in a setup stops what has started, starts nothing more, and is no failed start."""
    program = start(f"{LEAVING}:in_setup")
    assert program.wait() == 3
    assert program.out.lines == ["one up", "one down"]
    assert not program.events("process_ready")


def test_the_last_words_of_an_actor_are_heard(start: Start) -> None:
    """`sys.exit` with a text ends with 1, and the log has the text and does not speak of the dead-man timer."""
    program = start(f"{LEAVING}:with_words")
    assert program.wait() == 1
    assert program.out.lines[-1] == "one down"
    assert "no more paper" in "\n".join(program.err.lines)
    assert "dead-man" not in program.event("process_exit")["meaning"]


def test_an_actor_cannot_stop_the_loop(start: Start) -> None:
    """An actor that stops the event loop neither ends the process nor spoils its end."""
    program = start(f"{LEAVING}:stopping_loop")
    program.out.expect("loop goes on")
    program.ready()
    assert program.end() == ExitCode.CLEAN
    assert program.out.lines[-3:] == ["three down", "stopping down", "one down"]


def test_a_stop_between_two_lives_is_clean(start: Start) -> None:
    """A stop that comes while a crashed child waits to be restarted ends the process with 0."""
    program = start("storm")
    program.event("child_restarting", restarts=2)
    assert program.end() == ExitCode.CLEAN
    assert program.out.lines == ["one up", "one down"]


def test_a_process_ends_when_its_work_is_done(start: Start) -> None:
    """When all significant children have ended by themselves the rest stops, and the process ends with 0."""
    program = start("finite")
    assert program.wait() == ExitCode.CLEAN
    assert program.event("shutdown_began")["reason"] == "the work is done"
    assert program.out.lines[-1] == "service down"


def test_idle_is_no_reason_to_restart(start: Start) -> None:
    """Without messages a process stays up and restarts nothing, however impatient its limits for stalls are."""
    program = start("quiet").ready()
    program.out.expect("tick 25")
    nodes = program.nodes()
    assert {path: (node["state"], node["generation"], node["restarts"]) for path, node in nodes.items()} == {
        "root": ("running", 1, 0),
        "root/idle": ("running", 1, 0),
        "root/ticker": ("running", 1, 0),
    }
    assert program.end() == ExitCode.CLEAN
    assert not program.events("child_stalled")


def test_every_mistake_in_the_configuration_is_named(start: Start) -> None:
    """A wrong configuration ends with 78 before anything starts, and one message names every mistake."""
    program = start("idle", "--shutdown-timeout", "5", "--log-level", "loud", "--name", "Not A Name")
    assert program.wait() == ExitCode.CONFIG
    told = "\n".join(program.err.lines)
    assert "mistakes in the configuration (3)" in told
    for mistake in ("shutdown_timeout = '5'", "log_level = 'loud'", "name = 'Not A Name'"):
        assert mistake in told
    assert "Traceback" not in told
    assert program.out.lines == []


@pytest.mark.parametrize(
    ("app", "told"),
    [
        ("nothing", "there is no nothing in tests.process.apps"),
        ("tests.process.nowhere:app", "there is no module tests.process.nowhere"),
        ("twins", "two children are named 'one'"),
        ("NOT_AN_APP", "is of type str, not App"),
    ],
)
def test_an_application_that_cannot_be_is_a_mistake(start: Start, app: str, told: str) -> None:
    """An application that is missing, is no App or has an impossible tree ends with 78 and its reason."""
    program = start(app)
    assert program.wait() == ExitCode.CONFIG
    assert told in "\n".join(program.err.lines)


@pytest.mark.parametrize("option", ["--shutdwn-timeout=5", "--shutdown-timeout"])
def test_a_wrong_command_line_ends_with_2(start: Start, option: str) -> None:
    """An unknown option, or one without its value, ends with 2 and names the option."""
    program = start("idle", option)
    assert program.wait() == ExitCode.USAGE
    assert option.partition("=")[0] in "\n".join(program.err.lines)
    assert program.out.lines == []


def test_supervisord_beside_us_is_refused(start: Start, tmp_path: Path) -> None:
    """Beside an installed supervisord, which has the same import name, a process ends with 78 and the remedy."""
    metadata = tmp_path / "supervisor-4.2.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: supervisor\nVersion: 4.2.5\n")
    (metadata / "top_level.txt").write_text("supervisor\n")
    program = start("idle", environ={"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"})
    assert program.wait() == ExitCode.CONFIG
    assert "pip uninstall supervisor" in "\n".join(program.err.lines)
    assert program.out.lines == []
