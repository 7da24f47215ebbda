"""Every event becomes one line, at the level that its reader needs."""

from __future__ import annotations

import enum
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from supervisor.config import LogLevel
from supervisor.errors import GaveUp
from supervisor.testing import EventLog, crash, running
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.events import (
    ChildAbandoned,
    ChildExited,
    ChildRestarting,
    ChildStalled,
    ChildStarted,
    DeadLetter,
    DeadLetterReason,
    Event,
    ExitRequested,
    StopStage,
    SupervisorGaveUp,
)
from supervisor.tree.outcome import Crashed, ExitAsked, Ignored, Normal, Shutdown, Stage
from tests.unit.log_lines.output import HIDDEN, PATH, Output, error


@pytest.mark.parametrize(
    ("event", "level", "name"),
    [
        (ChildStarted(PATH, 1, 0.1), "debug", "child_started"),
        (ChildStarted(PATH, 2, 0.1), "info", "child_started"),
        (ChildExited(PATH, 1, Normal()), "debug", "child_exited"),
        (ChildExited(PATH, 1, Ignored()), "info", "child_exited"),
        (ChildExited(PATH, 1, ExitAsked(3)), "info", "child_exited"),
        (ChildExited(PATH, 1, Shutdown(Stage.DRAINING)), "debug", "child_exited"),
        (ChildExited(PATH, 1, Shutdown(Stage.KILLING)), "warning", "child_exited"),
        (ChildExited(PATH, 1, Shutdown(Stage.ABANDONED)), "debug", "child_exited"),
        (ChildExited(PATH, 1, Crashed(error())), "error", "child_exited"),
        (ChildExited(PATH, 1, Crashed(MemoryError(), severe=True)), "critical", "child_exited"),
        (ChildRestarting(PATH, 0.1, 1, 5), "warning", "child_restarting"),
        (ChildStalled(PATH, 61.0, "stack"), "warning", "child_stalled"),
        (StopStage(PATH, Stage.DRAINING), "debug", "stop_stage"),
        (StopStage(PATH, Stage.CANCELLING), "info", "stop_stage"),
        (StopStage(PATH, Stage.KILLING), "warning", "stop_stage"),
        (ChildAbandoned(PATH, 1, "stack"), "error", "child_abandoned"),
        (SupervisorGaveUp("root/shop", "mailer", 5, 60.0), "error", "gave_up"),
        (SupervisorGaveUp("root", "shop", 5, 60.0), "critical", "gave_up"),
        (DeadLetter(PATH, DeadLetterReason.FULL, "hello"), "warning", "dead_letter"),
        (ExitRequested(PATH, 3), "info", "exit_requested"),
    ],
)
def test_each_event_is_one_line(output: Output, event: Event, level: str, name: str) -> None:
    """An event has a short name and a level by what it means, and its line says which node it is about."""
    output.write(event)
    (line,) = output.lines
    assert (line["level"], line["event"], line["path"]) == (level, name, event.path)


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (ChildStarted(PATH, 1, 0.123456789), {"generation": 1, "seconds": 0.1235}),
        (ChildRestarting(PATH, 0.1, 2, 5), {"delay": 0.1, "restarts": 2, "max_restarts": 5}),
        (ChildExited(PATH, 3, Shutdown(Stage.DRAINING)), {"generation": 3, "outcome": "stopped while draining"}),
        (StopStage(PATH, Stage.KILLING), {"stage": "killing"}),
        (SupervisorGaveUp(PATH, "till", 5, 60.0), {"child": "till", "max_restarts": 5, "within": 60.0}),
    ],
)
def test_a_line_has_the_fields_of_its_event(output: Output, event: Event, fields: dict[str, object]) -> None:
    """What an event knows is in its line, in plain values."""
    output.write(event)
    (line,) = output.lines
    del line["level"], line["event"], line["path"]
    assert line == fields


def test_a_json_line_begins_with_what_every_line_has(output: Output) -> None:
    """Time in UTC, level, event and logger come first, in this order."""
    output.write(ChildStarted(PATH, 2, 0.1))
    line = json.loads(output.text)
    assert list(line)[:4] == ["timestamp", "level", "event", "logger"]
    assert line["timestamp"].endswith("Z")


def test_a_crash_has_its_traceback_in_one_field(output: Output) -> None:
    """The traceback of a crash is a text with the user's frames, and never shows a variable."""
    output.write(ChildExited(PATH, 1, Crashed(error())))
    (line,) = output.lines
    assert line["outcome"] == "crashed: ValueError: no such order"
    exception = str(line["exception"])
    assert "in _refuse" in exception
    assert exception.endswith("ValueError: no such order")
    assert HIDDEN.lower() not in output.text


async def test_the_traceback_of_an_actor_begins_in_its_own_code(output: Output) -> None:
    """The frames of the runtime that called the actor say nothing, and are left out."""

    class Mailer(Actor[None]):
        async def handle(self, message: None) -> None:
            raise error()

    class Both(EventLog):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            output.write(event)

    log = Both()
    async with running(Child("mailer", Mailer), log=log) as mailer:
        await mailer.tell(None)
        await log.expect(ChildExited)
    (line,) = [line for line in output.lines if "exception" in line]
    assert "in handle" in str(line["exception"])
    assert "incarnation.py" not in str(line["exception"])


async def test_an_injected_crash_keeps_the_frames_there_are(output: Output) -> None:
    """A crash without any code of the user is shown whole."""
    log = EventLog()
    async with running(Child("mailer", Actor[None]), log=log) as mailer:
        crash(mailer, ValueError("injected"))
        exited = await log.expect(ChildExited)
    output.write(exited)
    assert "inbox.py" in str(output.lines[0]["exception"])


def test_a_verdict_has_no_traceback(output: Output) -> None:
    """When a supervisor ends because it gave up, what led to it has been told already."""
    verdict = GaveUp("root/shop gave up")
    verdict.__cause__ = error()
    output.write(ChildExited("root/shop", 1, Crashed(verdict)))
    (line,) = output.lines
    assert line["outcome"] == "crashed: GaveUp: root/shop gave up"
    assert "exception" not in line


def test_a_dead_letter_tells_the_type_of_its_message_only(output: Output) -> None:
    """The content of a message is never written."""
    output.write(DeadLetter(PATH, DeadLetterReason.CLOSED, error("secret content")))
    (line,) = output.lines
    assert (line["reason"], line["message_type"]) == ("closed", "ValueError")
    assert "secret content" not in output.text


async def test_dead_letters_of_one_kind_are_one_line_a_second(output: Output) -> None:
    """A storm of dead letters is one line a second for each actor and reason, with the number of the others."""
    for _ in range(5):
        output.write(DeadLetter(PATH, DeadLetterReason.FULL, 1))
    output.write(DeadLetter(PATH, DeadLetterReason.CLOSED, 1))
    output.write(DeadLetter("root/other", DeadLetterReason.FULL, 1))
    await output.clock.advance(1.0)
    output.write(DeadLetter(PATH, DeadLetterReason.FULL, "text"))
    told = [(line["path"], line["reason"], line["message_type"], line.get("suppressed")) for line in output.lines]
    assert told == [
        (PATH, "full", "int", None),
        (PATH, "closed", "int", None),
        ("root/other", "full", "int", None),
        (PATH, "full", "str", 4),
    ]


async def test_suppressed_dead_letters_are_told_when_no_more_come(output: Output) -> None:
    """The number of suppressed lines comes with whatever happens next, once their second has passed."""
    for _ in range(3):
        output.write(DeadLetter(PATH, DeadLetterReason.FULL, 1))
    await output.clock.advance(1.0)
    output.write(ChildStarted("root/other", 1, 0.1))
    assert (output.lines[-1]["path"], output.lines[-1]["suppressed"]) == (PATH, 2)


def test_suppressed_dead_letters_are_told_at_the_end(output: Output) -> None:
    """`flush` tells at once what was suppressed."""
    for _ in range(3):
        output.write(DeadLetter(PATH, DeadLetterReason.FULL, 1))
    output.write.flush()
    assert output.lines[-1]["suppressed"] == 2


@pytest.mark.parametrize(
    ("level", "written"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_the_level_decides_what_is_written(level: LogLevel, written: list[str]) -> None:
    """Events below the level make no line."""
    output = Output(level)
    for event in (
        ChildStarted(PATH, 1, 0.1),
        ChildStarted(PATH, 2, 0.1),
        ChildRestarting(PATH, 0.1, 1, 5),
        ChildAbandoned(PATH, 1, "stack"),
    ):
        output.write(event)
    assert [line["level"] for line in output.lines] == written


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class PartyBegan(Event):
    """An event that the logger has never heard of."""

    colour: Colour
    limit: float
    names: tuple[str, ...]
    guest: object
    where: Path
    note: str | None
    level: int


@dataclass(frozen=True, slots=True)
class PartyBlocked(Event):
    stack: str


@dataclass(frozen=True, slots=True)
class PartyOver(Event):
    log_level: ClassVar[int] = logging.CRITICAL
    reason: ValueError


def test_an_unknown_event_is_told_by_its_fields(output: Output) -> None:
    """Any event has a line: plain values as they are, other objects by type, and nothing about what is None."""
    output.write(PartyBegan("root", Colour.RED, math.inf, ("a", "b"), object(), Path("x"), None, 3))
    assert output.lines == [
        {
            "level": "info",
            "event": "party_began",
            "path": "root",
            "colour": "red",
            "limit": "inf",
            "names": ["a", "b"],
            "guest": "object",
            "where": "x",
            "level_": 3,
        }
    ]


def test_an_unknown_event_with_a_stack_is_a_warning(output: Output) -> None:
    """A stack means that something stands where it should not."""
    output.write(PartyBlocked("root", "File ..."))
    output.write(PartyBlocked("root", ""))
    assert [(line["level"], line.get("stack")) for line in output.lines] == [("warning", "File ..."), ("info", None)]


def test_an_unknown_event_may_name_its_level_and_carry_an_error(output: Output) -> None:
    """The class of an event can say how much it matters, and an error among its fields has its traceback."""
    output.write(PartyOver("root", error()))
    (line,) = output.lines
    assert (line["level"], line["reason"]) == ("critical", "ValueError: no such order")
    assert "in _refuse" in str(line["exception"])
