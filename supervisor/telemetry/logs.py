"""Logging of the whole process, and the subscriber that writes the tree's events into it.

structlog and the standard library's logging end in the same handler, so an actor may use either.
"""

from __future__ import annotations

import enum
import logging
import math
import os
import re
import sys
import time
from dataclasses import fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, TextIO, assert_never

import structlog

from supervisor.config import LogFormat, LogLevel
from supervisor.errors import GaveUp, StartFailed, StartTimeout, UnexpectedCancel, Unstoppable
from supervisor.telemetry.log_lines import formatter
from supervisor.telemetry.quota import Quota
from supervisor.tree.events import (
    ChildAbandoned,
    ChildExited,
    ChildRestarting,
    ChildStalled,
    ChildStarted,
    DeadLetter,
    Event,
    StopStage,
    SupervisorGaveUp,
)
from supervisor.tree.outcome import Crashed, ExitAsked, Ignored, Normal, Outcome, Shutdown, Stage, describe, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.events import DeadLetterReason

DEAD_LETTER_PAUSE: Final = 1.0
"""Seconds in which one line at most is written about the dead letters of one actor for one reason."""

_LEVELS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
_STAGES: Final = {
    Stage.DRAINING: logging.DEBUG,
    Stage.CANCELLING: logging.INFO,
    Stage.KILLING: logging.WARNING,
    Stage.ABANDONED: logging.DEBUG,  # `child_abandoned` follows at once
}
# Decisions of the runtime: what led to them has been logged with its own traceback.
_VERDICTS: Final = (GaveUp, StartFailed, StartTimeout, UnexpectedCancel, Unstoppable)
_RESERVED: Final = frozenset({"event", "exc_info", "exception", "level", "logger", "stack_info", "timestamp"})
_SHAPES: Final[dict[type[Event], tuple[str, tuple[tuple[str, str], ...]]]] = {}


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second `configure` finds it."""


def configure(level: LogLevel, form: LogFormat, stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to `stream`, by default stderr, in one form.

    `LogFormat.AUTO` is human on a terminal and JSON elsewhere. Human lines have colours on a
    terminal, unless the environment variable `NO_COLOR` is set. Handlers that write to the
    terminal already are replaced; others, such as those for files, stay.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    human = form is LogFormat.HUMAN or (form is LogFormat.AUTO and terminal)
    handler = _Handler(stream)
    handler.setFormatter(formatter(human=human, colours=terminal and not os.environ.get("NO_COLOR")))
    root = logging.getLogger()
    for old in [old for old in root.handlers if _doubles(old)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _doubles(handler: logging.Handler) -> bool:
    """Whether a handler would write every line a second time: an earlier one of ours, or one of `basicConfig`."""
    if isinstance(handler, _Handler):
        return True
    return type(handler) is logging.StreamHandler and handler.stream in {sys.stdout, sys.stderr}


class EventLogger:
    """A subscriber that writes each event of a tree as one line: a short name, the path, and its fields.

    A dead letter is logged by the type of its message, never by its content, and at most once a
    second for each actor and reason; the next line says how many were `suppressed`.

    A kind of event that it does not know is written with its plain fields. Its level is the class's
    attribute `log_level`, a constant of `logging`; without one it is warning if it has a stack, else info.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._std = logging.getLogger("supervisor.tree")
        self._log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            self._std,
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
        ).bind()
        self._letters: Quota[tuple[str, DeadLetterReason]] = Quota(DEAD_LETTER_PAUSE, now)

    def __call__(self, event: Event) -> None:
        """Write the event, if its level is logged. May be called from any thread."""
        level = level_of(event)
        if self._std.isEnabledFor(level):
            self._write(level, event)
        if self._letters.open:
            self._write_suppressed(self._letters.over())

    def flush(self) -> None:
        """Write how many dead letters were suppressed last: to be called before the process ends."""
        self._write_suppressed(self._letters.over(at_once=True))

    def _write(self, level: int, event: Event) -> None:
        match event:
            case DeadLetter(path, reason, message):
                suppressed = self._letters.admit((path, reason))
                if suppressed is not None:
                    told = {"suppressed": suppressed} if suppressed else {}
                    kind = type(message).__qualname__
                    self._log.warning("dead_letter", path=path, reason=reason.value, message_type=kind, **told)
            case ChildExited(path, generation, outcome):
                about, error = describe(outcome), _cause(outcome)
                self._log.log(level, "child_exited", path=path, generation=generation, outcome=about, exc_info=error)
            case _:
                name, names = _shape(type(event))
                self._log.log(level, name, **_told(event, names))

    def _write_suppressed(self, held: list[tuple[tuple[str, DeadLetterReason], int]]) -> None:
        for (path, reason), suppressed in held:
            self._log.warning("dead_letter", path=path, reason=reason.value, suppressed=suppressed)


def level_of(event: Event) -> int:
    """Say how much an event matters, as a constant of `logging`."""
    match event:
        case ChildStarted():
            # A first start is as planned; a later one tells that the child is back.
            return logging.DEBUG if event.generation == 1 else logging.INFO
        case ChildExited():
            return _level_of_end(event.outcome)
        case StopStage():
            return _STAGES[event.stage]
        case ChildRestarting() | ChildStalled() | DeadLetter():
            return logging.WARNING
        case ChildAbandoned():
            return logging.ERROR
        case SupervisorGaveUp():
            # Above the root somebody else decides; the root's end is the end of the process.
            return logging.ERROR if "/" in event.path else logging.CRITICAL
        case _:
            level = getattr(event, "log_level", None)
            if isinstance(level, int):
                return level
            return logging.WARNING if getattr(event, "stack", None) else logging.INFO


def _level_of_end(outcome: Outcome) -> int:
    match outcome:
        case Normal() | Shutdown(Stage.DRAINING | Stage.CANCELLING | Stage.ABANDONED):
            return logging.DEBUG  # an abandoned child has had its own, louder line
        case Shutdown(Stage.KILLING):
            return logging.WARNING
        case Shutdown() | Ignored() | ExitAsked():
            return logging.INFO
        case Crashed(severe=severe):
            return logging.CRITICAL if severe else logging.ERROR
        case _:
            assert_never(outcome)


def _cause(outcome: Outcome) -> BaseException | None:
    """Return the error whose traceback tells people something."""
    if isinstance(outcome, Crashed) and not isinstance(outcome.error, _VERDICTS):
        return outcome.error
    return None


def name_of(kind: type[Event]) -> str:
    """Name a kind of event as log lines do: `child_started`."""
    if kind is SupervisorGaveUp:
        return "gave_up"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def _shape(kind: type[Event]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the name of an event's lines, and for each of its fields the attribute and the name in a line."""
    shape = _SHAPES.get(kind)
    if shape is None:
        names = [field.name for field in fields(kind)]
        shape = name_of(kind), tuple((name, f"{name}_" if name in _RESERVED else name) for name in names)
        _SHAPES[kind] = shape
    return shape


def _told(event: Event, names: tuple[tuple[str, str], ...]) -> dict[str, object]:
    """The fields of an event as plain values; what is None or empty says nothing and is left out."""
    told: dict[str, object] = {}
    for attribute, name in names:
        value = getattr(event, attribute)
        if value is None or value == "":
            continue
        told[name] = _plain(value)
        if isinstance(value, BaseException):
            told["exc_info"] = value
    return told


def _plain(value: object) -> object:
    """Make a value fit for a line. An object that is not plain is told by its type: its content may be a secret."""
    match value:
        case enum.Enum():
            return value.value
        case float():
            return round(value, 4) if math.isfinite(value) else str(value)
        case None | bool() | int() | str():
            return value
        case BaseException():
            return summary(value)
        case PurePath():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case _:
            return type(value).__qualname__
