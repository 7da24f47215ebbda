"""Writes errors as texts that a column can hold: bounded, without variables, without characters PostgreSQL refuses."""

from __future__ import annotations

from typing import Final

from supervisor.jobs.retry import leaves
from supervisor.telemetry.tracebacks import render

MAX_SUMMARY: Final = 1000
"""Characters."""

MAX_TRACEBACK: Final = 16 * 1024
"""Bytes of UTF-8."""

_HEAD: Final = MAX_TRACEBACK // 4
_MARK: Final = "\n[… {} bytes left out …]\n"
_NAMED: Final = 10


def summary(error: BaseException, remark: str = "") -> str:
    """Name an error in one line, with the first line of its message; a group names the types in it."""
    if isinstance(error, BaseExceptionGroup):
        names = sorted({type(leaf).__name__ for leaf in leaves(error)})
        more = ", …" if len(names) > _NAMED else ""
        text = f"{type(error).__name__} of {', '.join(names[:_NAMED])}{more}"
    else:
        message = _message(error).partition("\n")[0]
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    room = MAX_SUMMARY - len(remark) - 2 if remark else MAX_SUMMARY
    short = text if len(text) <= room else f"{text[: max(0, room - 1)]}…"
    return storable(f"{short}; {remark}" if remark else short)[:MAX_SUMMARY]


def traceback_of(error: BaseException) -> str:
    """Write an error with its traceback and causes, in at most 16 KiB: the beginning, and more of the end.

    Values of variables are never shown; an error's own message is.
    """
    try:
        text = render(error)
    except Exception as broken:  # noqa: BLE001 - an error that cannot be shown is still an error, and says so
        text = f"{type(error).__name__}: the traceback cannot be shown: {type(broken).__name__}"
    data = storable(text).encode()
    if len(data) <= MAX_TRACEBACK:
        return data.decode()
    tail = MAX_TRACEBACK - _HEAD - len(_MARK.format(len(data)).encode())
    # A character that is cut in two is dropped.
    head, end = data[:_HEAD].decode(errors="ignore"), data[-tail:].decode(errors="ignore")
    return head + _MARK.format(len(data) - _HEAD - tail) + end


def storable(text: str) -> str:
    """Replace NUL and halves of surrogate pairs, which PostgreSQL refuses, by their escapes."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - the same
        return f"its message cannot be shown: {type(broken).__name__}"
