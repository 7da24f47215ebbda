"""Tracebacks begin in the user's code, name every cause, and never show a variable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.config import load
from supervisor.telemetry.tracebacks import is_empty, render

if TYPE_CHECKING:
    from collections.abc import Callable


def _pay(card: str) -> None:
    del card
    raise ValueError("declined")


def _caught(action: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - the traceback is the point
        action()
    return caught.value


def test_a_variable_is_never_shown() -> None:
    """The values of local variables, which may be secrets, are not part of a traceback."""
    number = "HUSH".lower()
    text = render(_caught(lambda: _pay(number)))
    assert "in _pay" in text
    assert "hush" not in text


def test_the_text_has_no_last_newline() -> None:
    """The text ends with the error, so that it can stand in the middle of anything."""
    assert render(ValueError("declined")) == "ValueError: declined"


def test_frames_of_ours_at_the_end_stay() -> None:
    """Where the runtime raised an error that the user's code caused, its own frames help to find the reason."""
    text = render(_caught(lambda: load(flags={"nonsense": 1})))
    assert "in <lambda>" in text
    assert "sources.py" in text


def test_frames_of_ours_can_all_be_hidden() -> None:
    """With `hide_ours` only the user's frames are left."""
    text = render(_caught(lambda: load(flags={"nonsense": 1})), hide_ours=True)
    assert "in <lambda>" in text
    assert "sources.py" not in text


def test_an_error_of_ours_alone_keeps_its_frames() -> None:
    """An error in which no code of the user took part is our bug, so nothing is hidden."""
    error = _caught(lambda: load(flags={"nonsense": 1}))
    assert error.__traceback__ is not None
    while error.__traceback__.tb_frame.f_globals["__name__"] != "supervisor.config.sources":
        assert error.__traceback__.tb_next is not None
        error.__traceback__ = error.__traceback__.tb_next
    assert "sources.py" in render(error)
    assert is_empty(error)


def test_causes_and_groups_are_told() -> None:
    """The causes of an error and the members of a group are part of the text."""
    error = RuntimeError("no order")
    error.__cause__ = ExceptionGroup("two", [ValueError("declined"), KeyError("till")])
    text = render(error)
    assert text.index("ValueError: declined") < text.index("KeyError: 'till'") < text.index("RuntimeError: no order")


def test_a_circle_of_causes_ends() -> None:
    """Errors that name each other as their context are written once."""
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert render(first).count("ValueError: first") == 1
