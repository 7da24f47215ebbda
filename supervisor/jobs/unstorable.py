"""Finds the place in a job's arguments that JSON or PostgreSQL's jsonb cannot hold, and says what to do about it.

It runs only when something is known to be wrong or cannot be ruled out: it is thorough, not quick.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 64

_CONVERTED: Final = (
    dt.date,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    enum.Enum,
    uuid.UUID,
    msgspec.UnsetType,
)
_KEY_SHOWN: Final = 40


class _Absent(enum.Enum):
    UNKNOWN = enum.auto()
    LOST = enum.auto()


UNKNOWN: Final = _Absent.UNKNOWN
"""Stands for what a value comes back as where that could not be found out."""

_LOST: Final = _Absent.LOST


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and the remedy."""

    path: str
    reason: str
    remedy: str


def find(value: object, back: object = UNKNOWN, path: str = "args", depth: int = 1) -> Problem | None:
    """Return the first problem in `value`, depth first; None if there is none.

    `back` is what the handler would get for it, UNKNOWN if that could not be found out. What comes back different is a
    problem too.
    """
    if back is _LOST:
        return Problem(path, "the key is not declared, and gets lost", "remove it, or declare it")
    wrong = _reason(value, back, depth)
    if wrong is not None:
        return Problem(path, *wrong)
    for step, part, part_back in _parts(value, back):
        problem = _key_problem(path, step) or find(part, part_back, path + _written(step), depth + 1)
        if problem is not None:
            return problem
    return None


def _reason(value: object, back: object, depth: int) -> tuple[str, str] | None:
    """Say what is wrong with a value itself, its parts aside: the reason and the remedy."""
    match value:
        case None | bool() | enum.Enum():
            return _differs(value, back)
        case str():
            return _text_reason(value) or _plain_reason(str, value, back)
        case int():
            return _digits_reason(value) or _plain_reason(int, value, back)
        case float():
            return _float_reason(value, back) or _plain_reason(float, value, back)
        case dict() | list() | tuple():
            return _too_deep(depth) or _container_reason(value, back)
        case _ if _is_record(value):
            return _too_deep(depth) or _record_reason(value, back)
        case _ if isinstance(value, _CONVERTED):
            return _differs(value, back)
        case _:
            return _foreign_reason(value)


def _foreign_reason(value: object) -> tuple[str, str]:
    match value:
        case bytes() | bytearray() | memoryview():
            return "bytes have no place in JSON", "pass a str, such as base64, or a reference to the data"
        case set() | frozenset():
            return "a set has no place in JSON", "pass a list"
        case _:
            return f"a value of type {_name(value)} is not JSON", "pass JSON types, a dataclass or a msgspec.Struct"


def _text_reason(text: str) -> tuple[str, str] | None:
    if "\0" in text:
        return "the text contains NUL (\\u0000), which jsonb cannot hold", "remove the character"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"the text is not Unicode: half a surrogate pair at position {error.start}",
            "decode the text where it comes from, for example with errors='replace'",
        )
    return None


def _digits_reason(number: int) -> tuple[str, str] | None:
    try:
        str(int(number))
    except ValueError:
        return "the number has more digits than Python writes", "pass it as a text, such as hex(number)"
    return None


def _float_reason(number: float, back: object) -> tuple[str, str] | None:
    if not math.isfinite(number):
        return f"{number} has no place in JSON", "pass None, or leave it out"
    if isinstance(back, int) and number != back:
        return (
            "jsonb stores a number this large with all its digits, and it comes back as another int",
            "declare the type of the field as float, or pass a text",
        )
    return None


def _plain_reason(plain: type, value: object, back: object) -> tuple[str, str] | None:
    if back is UNKNOWN and type(value) is not plain:
        return f"{_name(value)} is a kind of {plain.__name__} that JSON does not know", f"pass {plain.__name__}(value)"
    return _differs(value, back)


def _too_deep(depth: int) -> tuple[str, str] | None:
    if depth <= MAX_DEPTH:
        return None
    return f"nested more than {MAX_DEPTH} deep, or contains itself", "flatten it, or pass a reference to the data"


def _container_reason(value: object, back: object) -> tuple[str, str] | None:
    if back is UNKNOWN or (isinstance(back, dict) if isinstance(value, dict) else isinstance(back, type(value))):
        return None
    if isinstance(value, tuple) and isinstance(back, list):
        return "a tuple comes back as a list", "pass a list, or declare the type of the field as a tuple"
    return f"{_name(value)} comes back as {_name(back)}", f"pass {_name(back)}, or declare {_name(value)}"


def _record_reason(value: object, back: object) -> tuple[str, str] | None:
    if back is UNKNOWN or type(back) is type(value):
        return None
    if isinstance(back, dict):
        return f"{_name(value)} comes back as a dict", f"declare the type of the field as {_name(value)}"
    return f"{_name(value)} comes back as {_name(back)}", f"pass {_name(back)}, or declare {_name(value)}"


def _differs(value: object, back: object) -> tuple[str, str] | None:
    if back is UNKNOWN or value == back:
        return None
    if type(value) is type(back):
        return f"the {_name(value)} comes back with another value", "pass a value that JSON can hold exactly"
    return f"{_name(value)} comes back as {_name(back)}", f"declare the type of the field as {_name(value)}"


def _parts(value: object, back: object) -> Iterator[tuple[object, object, object]]:
    """List what a value consists of: a step (`.name`, an index, a key), the part, and what that comes back as."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield _Key(key), part, back.get(key, _LOST) if isinstance(back, dict) else UNKNOWN
    elif isinstance(value, list | tuple):
        row = back if isinstance(back, list | tuple) else (UNKNOWN,) * len(value)
        names = getattr(value, "_fields", range(len(value)))  # a named tuple has names
        yield from zip(names, value, row, strict=True)
    elif _is_record(value):
        for name in _field_names(value):
            yield name, getattr(value, name, None), UNKNOWN if back is UNKNOWN else getattr(back, name, UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of a dict, which need not be a text."""

    key: object


def _key_problem(path: str, step: object) -> Problem | None:
    if not isinstance(step, _Key):
        return None
    if not isinstance(step.key, str):
        return Problem(path, f"a key of type {_name(step.key)}: the keys of a JSON object are texts", "pass str(key)")
    wrong = _text_reason(step.key)
    return wrong and Problem(path, f"a key: {wrong[0]}", wrong[1])


def _written(step: object) -> str:
    match step:
        case int():
            return f"[{step}]"
        case _Key(key=str(text)):
            return f".{text}" if text.isidentifier() and len(text) <= _KEY_SHOWN else f"[{text[:_KEY_SHOWN]!r}]"
        case _:
            return f".{step}"


def _is_record(value: object) -> bool:
    return isinstance(value, msgspec.Struct) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _field_names(record: object) -> tuple[str, ...]:
    if isinstance(record, msgspec.Struct):
        return record.__struct_fields__
    return tuple(field.name for field in dataclasses.fields(record))  # type: ignore[arg-type]  # a dataclass


def _name(value: object) -> str:
    return type(value).__name__
