"""Tracebacks for people: they begin in the user's code, and never show the values of variables."""

from __future__ import annotations

import importlib
import os
import traceback
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS: Final = f"{Path(__file__).parents[1]}{os.sep}"
_IMPORTS: Final = ("<frozen importlib", f"{Path(importlib.__file__).parent}{os.sep}")


def render(error: BaseException, *, hide_ours: bool = False) -> str:
    """Write an error with its traceback and its causes, as one text that ends without a newline.

    The frames of the runtime that led to the user's code are left out; with `hide_ours` so is every
    other frame of ours, and of the import system. An error with no frame but ours keeps them all,
    unless `hide_ours`.
    """
    report = traceback.TracebackException.from_exception(error)
    for part in _parts(report):
        frames = [frame for frame in part.stack if not _is_ours(frame)]
        if not hide_ours:
            frames = list(dropwhile(_is_ours, part.stack)) or list(part.stack)
        part.stack = traceback.StackSummary.from_list(frames)
    return "".join(report.format()).rstrip("\n")


def is_empty(error: BaseException) -> bool:
    """Whether the error was raised before any code of the user ran."""
    return all(_is_ours(frame) for frame in traceback.extract_tb(error.__traceback__))


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith((_OURS, *_IMPORTS))


def _parts(report: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """List an error with its causes and, for a group, its members; each once, also when they form a circle."""
    waiting, seen = [report], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += [other for other in (part.__cause__, part.__context__, *(part.exceptions or ())) if other]
