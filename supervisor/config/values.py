"""Makes the value of a setting from what people wrote, or says what is wrong with it."""

from __future__ import annotations

import math
import operator
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.config.table import Setting

_WORDS: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class WrongValueError(Exception):
    """What is wrong with a value. It never quotes the value, which may be a secret."""


def bounds(setting: Setting) -> list[tuple[str, float, Callable[[float, float], bool]]]:
    """List the bounds of a setting: in words, as a number, and as the comparison that must hold."""
    low, above, high = setting.ge, setting.gt, setting.le
    every = (("at least", low, operator.ge), ("above", above, operator.gt), ("at most", high, operator.le))
    return [(word, bound, holds) for word, bound, holds in every if bound is not None]


def many(raw: object, kind: type, setting: Setting) -> tuple[object, ...]:
    """Make a tuple of values of a list, or of a text with commas. Raises WrongValueError."""
    items = [item for item in map(str.strip, raw.split(",")) if item] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple):
        raise WrongValueError("is not a list")
    return tuple(one(item, kind, setting) for item in items)


def one(raw: object, kind: type, setting: Setting) -> object:
    """Make a value of this type. Raises WrongValueError."""
    if kind is not bool:
        return _number(raw, kind, setting) if kind in {int, float} else _text(raw, kind, setting)
    value = _WORDS.get(raw.strip().lower()) if isinstance(raw, str) else raw
    if not isinstance(value, bool):
        raise WrongValueError("is neither true nor false")
    return value


def _number(raw: object, kind: type, setting: Setting) -> float:
    noun = "is not a whole number" if kind is int else "is not a number"
    scale = 1.0
    if isinstance(raw, str) and setting.unit == "s":
        raw = raw.strip()
        unit = next((unit for unit in _SECONDS if raw.endswith(unit)), "")
        raw, scale = raw.removesuffix(unit), _SECONDS.get(unit, 1.0)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float) or (kind is int and isinstance(raw, float)):
        raise WrongValueError(noun)
    try:
        value = int(raw) if kind is int else round(float(raw) * scale, 9)  # 9ms is 0.009, not 0.009000000000000001
    except ValueError:
        raise WrongValueError(noun) from None
    except OverflowError:
        value = math.inf
    if not abs(value) < math.inf:
        raise WrongValueError("is not a finite number")
    if setting.unit == "s" and value < 0:
        raise WrongValueError("is negative")
    for word, bound, holds in bounds(setting):
        if not holds(value, bound):
            why = f": {setting.why}" if setting.why else ""
            raise WrongValueError(f"is not {word} {bound:g}{' s' if setting.unit else ''}{why}")
    return value


def _text(raw: object, kind: type, setting: Setting) -> object:
    raw = str(raw) if isinstance(raw, Path) and kind is Path else raw
    if not isinstance(raw, str):
        raise WrongValueError("is not a text")
    if issubclass(kind, StrEnum):
        raw = raw.strip().lower()
        if raw not in list(kind):
            raise WrongValueError("is none of these")
    if kind is Path and (not raw or "\0" in raw):
        raise WrongValueError("is empty or contains a null character")
    if setting.pattern is not None and not re.fullmatch(setting.pattern, raw):
        raise WrongValueError("does not have the required form")
    return kind(raw)
