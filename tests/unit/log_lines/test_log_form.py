"""A line has the form that its reader needs: JSON for a machine, short and harmless for a human."""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path

import pytest
import structlog

from supervisor.config import LogFormat, LogLevel
from supervisor.telemetry.logs import EventLogger, configure
from supervisor.tree.events import ChildExited, ChildStarted
from supervisor.tree.outcome import Crashed, Normal
from tests.unit.log_lines.output import PATH, Output, error


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1 << 80, str(1 << 80)),
        ("\udc80", "\udc80"),
        (Rude(), "<Rude: RuntimeError>"),
        (math.nan, None),
        ({1: 2}, "{1: 2}"),
        (Path("x"), "x"),
    ],
)
def test_no_value_can_break_a_json_line(output: Output, value: object, written: object) -> None:
    """A value that JSON does not know is written as text, and the line stands."""
    structlog.get_logger("shop").info("odd", value=value)
    assert output.lines[0]["value"] == written


@pytest.mark.parametrize(
    ("form", "stream", "human"),
    [
        (LogFormat.AUTO, Terminal(), True),
        (LogFormat.AUTO, io.StringIO(), False),
        (LogFormat.HUMAN, io.StringIO(), True),
        (LogFormat.JSON, Terminal(), False),
    ],
)
def test_auto_is_human_on_a_terminal_only(form: LogFormat, stream: io.StringIO, human: bool) -> None:
    """Without a word people get lines and machines get JSON; either can be asked for."""
    configure(LogLevel.INFO, form, stream)
    EventLogger()(ChildStarted(PATH, 2, 0.1))
    assert stream.getvalue().startswith("{") is not human


@pytest.mark.parametrize(
    ("stream", "no_colour", "coloured"), [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)]
)
def test_colours_are_for_terminals(
    stream: io.StringIO, no_colour: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours appear on a terminal, unless `NO_COLOR` is set."""
    monkeypatch.setenv("NO_COLOR", no_colour)
    configure(LogLevel.INFO, LogFormat.HUMAN, stream)
    EventLogger()(ChildStarted(PATH, 2, 0.1))
    assert ("\033[" in stream.getvalue()) is coloured


def test_a_human_line_is_short() -> None:
    """A line for people: time of day, level, event, path, fields."""
    output = Output(form=LogFormat.HUMAN)
    output.write(ChildExited(PATH, 2, Normal()))
    logging.getLogger("shop").warning("no %s", "tea")
    lines = [line.split(maxsplit=1)[1] for line in output.text.splitlines()]
    assert lines == [
        "[debug    ] child_exited     root/shop/mailer generation=2 outcome=normal",
        "[warning  ] no tea           logger=shop",
    ]


def test_a_human_traceback_stands_below_its_line() -> None:
    """The traceback keeps its lines, so that people can read it."""
    output = Output(form=LogFormat.HUMAN)
    output.write(ChildExited(PATH, 1, Crashed(error())))
    lines = output.text.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no such order"


def test_nothing_can_take_over_the_terminal() -> None:
    """Control characters from elsewhere are shown, not obeyed, and one value stays on one line."""
    output = Output(form=LogFormat.HUMAN)
    output.write(ChildExited(PATH, 1, Crashed(error("red \033[31m"))))
    logging.getLogger("shop").error("clear \033[2J", extra={"note": "two\nlines \033[2J"})
    assert "\033" not in output.text
    assert "red \\x1b[31m" in output.text
    assert "note='two\\nlines \\x1b[2J'" in output.text
