"""Every log record becomes a line like those of events, whichever logger it comes from."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
import structlog

from supervisor.config import LogFormat, LogLevel
from supervisor.telemetry.logs import configure
from tests.unit.log_lines.output import Output

if TYPE_CHECKING:
    from pathlib import Path


def test_both_kinds_of_logger_end_in_the_same_lines(output: Output) -> None:
    """The standard library's loggers and structlog's give the same line for the same words."""
    logging.getLogger("shop").info("sold %s", "tea", extra={"cents": 250})
    structlog.get_logger("shop").info("sold %s", "tea", cents=250)
    assert output.lines == [{"level": "info", "event": "sold tea", "cents": 250}] * 2
    assert [json.loads(line)["logger"] for line in output.text.splitlines()] == ["shop", "shop"]


def test_both_kinds_of_logger_add_the_context(output: Output) -> None:
    """What a handler has bound to its context is in every line it logs."""
    with structlog.contextvars.bound_contextvars(order=7):
        logging.getLogger("shop").info("sold")
        structlog.get_logger("shop").info("sold")
    assert [line["order"] for line in output.lines] == [7, 7]


def test_both_kinds_of_logger_tell_exceptions_and_stacks(output: Output) -> None:
    """An exception and a stack are each one field of text, whichever logger has them."""
    for log in (logging.getLogger("shop"), structlog.get_logger("shop")):
        try:
            raise ValueError("no tea")  # noqa: TRY301 - the point
        except ValueError:
            log.exception("lost", stack_info=True)
    for line in output.lines:
        assert str(line["exception"]).endswith("ValueError: no tea")
        assert "test_logs.py" in str(line["stack"])


@pytest.mark.parametrize(
    "form", [ValueError("no tea"), (ValueError, ValueError("no tea"), None), (None, None, None), False]
)
def test_an_exception_may_be_given_in_any_form(output: Output, form: object) -> None:
    """`exc_info` takes what the standard library takes."""
    structlog.get_logger("shop").error("lost", exc_info=form)
    (line,) = output.lines
    assert line.get("exception") in {"ValueError: no tea", None}


def test_warnings_become_lines(output: Output) -> None:
    """A Python warning does not break a log of JSON lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(LogLevel.DEBUG, LogFormat.JSON, output.stream)
        warnings.showwarning("old tea", DeprecationWarning, "shop.py", 3)
    assert "old tea" in str(output.lines[0]["event"])


def test_a_second_configuration_replaces_the_first() -> None:
    """No line is written twice, neither by us nor by a handler of `basicConfig`."""
    root = logging.getLogger()
    root.addHandler(logging.StreamHandler(sys.stderr))
    first, second = Output(), Output()
    logging.getLogger("shop").info("sold")
    assert first.text == ""
    assert len(second.lines) == 1
    assert [handler for handler in root.handlers if type(handler) is logging.StreamHandler] == []


def test_other_handlers_stay(tmp_path: Path) -> None:
    """A handler that the user's code made for a file keeps what it gets."""
    handler = logging.FileHandler(tmp_path / "shop.log")
    logging.getLogger().addHandler(handler)
    output = Output()
    logging.getLogger("shop").info("sold")
    handler.close()
    assert "sold" in (tmp_path / "shop.log").read_text()
    assert len(output.lines) == 1
