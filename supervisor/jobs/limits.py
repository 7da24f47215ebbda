"""Bounds on the numbers and names that people give: checked where they are written, not where they would hurt."""

from __future__ import annotations

import math
from typing import Final

from supervisor.errors import ConfigError

LONGEST: Final = 10 * 365 * 86400.0
"""Seconds: ten years. PostgreSQL could add more to a timestamp, but nobody means it."""

SHORTEST: Final = 0.001
"""Seconds: the shortest time that is not a mistake."""

MOST_ATTEMPTS: Final = 32767
"""What a `smallint` holds."""

LONGEST_NAME: Final = 128


def seconds(owner: str, name: str, value: object, *, least: float = 0.0) -> float:
    """Return `value` as seconds between `least` and ten years; `owner` and `name` say in the error whose it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{owner}: {name}={value!r}: must be a number of seconds")
    if not least <= value <= LONGEST:  # also refuses NaN
        raise ConfigError(f"{owner}: {name}={value!r}: must be from {least:g} to {LONGEST:.0f} seconds (ten years)")
    return float(value)


def fraction(owner: str, name: str, value: object) -> float:
    """Return `value` as a fraction: 0 or more, below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(f"{owner}: {name}={value!r}: must be a fraction, 0 or more and below 1")
    return float(value)


def factor(owner: str, name: str, value: object) -> float:
    """Return `value` as the factor of a growing delay: finite, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < math.inf:
        raise ConfigError(f"{owner}: {name}={value!r}: must be a finite number, 1 or more, or delays would shrink")
    return float(value)


def attempts(owner: str, name: str, value: object) -> int:
    """Return `value` as a number of attempts: 1 to 32767."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_ATTEMPTS:
        raise ConfigError(f"{owner}: {name}={value!r}: must be a whole number from 1 (no retry) to {MOST_ATTEMPTS}")
    return value


def flag(owner: str, name: str, value: object) -> bool:
    """Return `value`, which must be True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{owner}: {name}={value!r}: must be True or False")
    return value


def label(owner: str, name: str, value: object) -> str:
    """Return `value` as a name: it stands in columns, in the labels of metrics and in commands."""
    if not isinstance(value, str):
        raise ConfigError(f"{owner}: {name}={value!r}: must be a text")
    if not 1 <= len(value) <= LONGEST_NAME:
        raise ConfigError(f"{owner}: {name} has {len(value)} characters: it must have 1 to {LONGEST_NAME}")
    if not value.isprintable() or " " in value:
        raise ConfigError(
            f"{owner}: {name}={value!r}: must be printable characters without spaces, such as 'send_mail'"
        )
    return value
