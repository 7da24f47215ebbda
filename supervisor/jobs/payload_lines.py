"""Encodes the arguments of many jobs at once: the checks of a Payload at half the price, where nothing is wrong.

One call for each step instead of one for each job. Whatever is not plainly in order is left to the Payload, which
looks at each job by itself and says what is wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import msgspec

from supervisor.jobs.args_type import shape_of
from supervisor.jobs.payload import MAX_BYTES
from supervisor.jobs.stored_size import may_grow
from supervisor.jobs.unstorable import MAX_DEPTH

if TYPE_CHECKING:
    from supervisor.jobs.payload import Payload

A = TypeVar("A")

_write: Final = msgspec.json.Encoder().encode_lines
_EXPONENT: Final = re.compile(rb"\de[+\d]")
_SAFE_LENGTH: Final = MAX_BYTES // 4  # a character has four bytes at most
_SAFE_DEPTH: Final = 2 * MAX_DEPTH  # characters: each level opens and closes


class PayloadLines(Generic[A]):
    """Encodes lists of arguments of one kind of job."""

    __slots__ = ("_read", "_usable", "_wary")

    def __init__(self, payload: Payload[A]) -> None:
        shape = shape_of(payload.kind, payload.args_type)
        self._usable = not (payload.is_empty or shape.blind)
        self._wary = shape.loose
        stored: Any = object if payload.is_empty else payload.args_type
        self._read = msgspec.json.Decoder(cast("type[A]", stored)).decode_lines

    def encode(self, args: list[A]) -> list[str] | None:
        """Write each of the arguments as the Payload would; None if anything about them needs a closer look."""
        if not self._usable:
            return None
        try:
            lines = self._lines(args)
        except Exception:  # noqa: BLE001 - the closer look meets it again, and says what it is
            lines = None
        return lines

    def _lines(self, args: list[A]) -> list[str] | None:
        data = _write(args)
        if b"\\u0000" in data or (self._wary and _EXPONENT.search(data)):
            return None
        text = data.decode()
        if self._read(text) != args:
            return None
        lines = text.split("\n")
        lines.pop()  # what follows the last line break
        return None if any(map(_is_doubtful, lines)) else lines


def _is_doubtful(line: str) -> bool:
    if len(line) <= _SAFE_DEPTH:
        return False
    return len(line) > _SAFE_LENGTH or line.count("[") + line.count("{") > MAX_DEPTH or may_grow(line)


@lru_cache(maxsize=256)
def lines_of(payload: Payload[A]) -> PayloadLines[A]:
    """Return what encodes many arguments of this payload."""
    return PayloadLines(payload)
