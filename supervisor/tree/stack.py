"""Where a suspended task stands: the whole chain of awaits, of which asyncio itself shows only the outermost."""

from __future__ import annotations

import linecache
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_DEEPEST: Final = 50

# How coroutines, generators and async generators call their frame, and what they wait for.
_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")
_AWAITS: Final = ("cr_await", "gi_yieldfrom", "ag_await")


def describe_stack(task: asyncio.Task[None]) -> str:
    """Format the task's frames like a traceback, outermost first."""
    lines = []
    waiting: object = task.get_coro()
    for _ in range(_DEEPEST):
        frame = _first(waiting, _FRAMES)
        if isinstance(frame, FrameType):
            lines.append(_describe(frame))
        waiting = _first(waiting, _AWAITS)
        if waiting is None:
            break
    return "".join(lines)


def _first(thing: object, names: tuple[str, ...]) -> object:
    return next((found for name in names if (found := getattr(thing, name, None)) is not None), None)


def _describe(frame: FrameType) -> str:
    path, number = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(path, number).strip()
    return f'  File "{path}", line {number}, in {frame.f_code.co_qualname}\n' + (f"    {source}\n" if source else "")
