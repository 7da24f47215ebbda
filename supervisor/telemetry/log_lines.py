"""How a log line looks: the last steps from its fields to its text, human or JSON."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from typing import TYPE_CHECKING, Final

import orjson
import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter
from structlog.stdlib import ProcessorFormatter

from supervisor.telemetry.tracebacks import render

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from structlog.typing import EventDict, WrappedLogger

_BRIGHT, _DIM, _CYAN, _RESET = "\033[1m", "\033[2m", "\033[36m", "\033[0m"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BLOCKS: Final = ("event", "exception", "stack")  # may have several lines


def formatter(*, human: bool, colours: bool) -> ProcessorFormatter:
    """Make the formatter for lines of structlog and of the standard library alike."""
    steps = (_human_head, _escaped, _human(colours=colours)) if human else (_json_head, _json)
    return ProcessorFormatter(
        processors=[_traceback, steps[0], ProcessorFormatter.remove_processors_meta, *steps[1:]],
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder(), _native],
    )


def _native(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Bring a record of the standard library into structlog's form."""
    if stack := line.pop("stack_info", None):
        line["stack"] = stack
    # Another handler's formatter leaves these two on the record, where they look like `extra`.
    line.pop("message", None)
    line.pop("asctime", None)
    return line


def _traceback(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Turn `exc_info`, in whichever of its forms, into one text."""
    found = line.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else sys.exc_info()[1] if found is True else found
    if isinstance(error, BaseException):
        line["exception"] = render(error)
    return line


def _json_head(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Put the fields first that every line has."""
    record: logging.LogRecord = line["_record"]
    when = dt.datetime.fromtimestamp(record.created, dt.UTC)
    head: EventDict = {
        "timestamp": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": line.pop("event"),
        "logger": record.name,
    }
    return {**head, **line}


def _json(_: WrappedLogger, __: str, line: EventDict) -> str:
    """One object on one line, whatever the values are."""
    try:
        return orjson.dumps(line, default=_described).decode()
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, a key that is no text, a circle
        return json.dumps({str(key): _described(value) for key, value in line.items()})


def _described(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a line with a gap is better than none
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _human_head(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Add time of day and level, and the logger's name where it is not the tree that speaks."""
    record: logging.LogRecord = line["_record"]
    when = dt.datetime.fromtimestamp(record.created).astimezone()
    head: EventDict = {"timestamp": when.strftime("%H:%M:%S.%f")[:-3], "level": record.levelname.lower()}
    if "path" not in line:
        line["logger"] = record.name
    return {**head, **line}


def _escaped(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Escape what could move the cursor or change colours."""
    for key in _BLOCKS:
        if isinstance(value := line.get(key), str):
            line[key] = _CONTROL.sub(lambda found: repr(found[0])[1:-1], value)
    return line


def _human(*, colours: bool) -> ConsoleRenderer:
    def style(code: str) -> str:
        return code if colours else ""

    def column(
        key_style: str | None, value_style: str, text: Callable[[object], str], width: int = 0
    ) -> KeyValueColumnFormatter:
        return KeyValueColumnFormatter(key_style, style(value_style), style(_RESET), value_repr=text, width=width)

    levels = ConsoleRenderer.get_default_level_styles(colors=colours)
    return ConsoleRenderer(
        columns=[
            Column("timestamp", column(None, _DIM, str)),
            Column(
                "level", LogLevelColumnFormatter({key: levels[key] + style(_BRIGHT) for key in levels}, style(_RESET))
            ),
            Column("event", column(None, _BRIGHT, str, width=len("child_restarting"))),
            Column("path", column(None, _CYAN, _shown)),
            Column("", column(style(_DIM), "", _shown)),
        ],
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )


def _shown(value: object) -> str:
    """Write a value so that it is one word on one line."""
    text = _described(value)
    return text if text.isprintable() and text and " " not in text else repr(text)
