"""Reads and writes times as people do: `90s`, `5m`, `2h`, `7d`, `3m ago`, and a moment with its offset from UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import typer

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h|d)?")
_LONGEST: Final = 10 * 365 * 86400.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(text: str) -> float:
    """Read a duration in seconds: a number, or one with a unit, as in `500ms`, `90s`, `5m`, `2h`, `7d`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write seconds, or as in 500ms, 90s, 5m, 2h, 7d")
    seconds = float(found[1]) * _UNITS[found[2] or "s"]
    if seconds > _LONGEST:
        raise typer.BadParameter(f"{text!r} is more than ten years")
    return seconds


def moment(text: str) -> datetime:
    """Read a moment in ISO 8601; it must say its offset, since hosts differ in what they take for local time."""
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write it as in 2026-05-01T09:00:00+02:00") from None
    if read.tzinfo is None:
        raise typer.BadParameter(f"{text!r} does not say where; add Z for UTC, or an offset such as +02:00")
    return read


def moment_or_age(text: str) -> datetime | float:
    """Read either a moment, or a duration that counts back from now, in seconds."""
    if _DURATION.fullmatch(text.strip()):
        return duration(text)
    try:
        return moment(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}; or a duration, as in 90s, 5m, 2h, 7d") from None


def short(seconds: float) -> str:
    """Write a duration in at most two units: `0.4s`, `12s`, `3m05s`, `2h10m`, `4d3h`."""
    seconds = max(0.0, seconds)
    if seconds < 10:  # noqa: PLR2004 - below it a tenth matters
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


def relative(then: datetime, now: datetime) -> str:
    """Write a moment as seen from another: `3m05s ago`, `in 2h10m`."""
    seconds = (now - then).total_seconds()
    return f"{short(seconds)} ago" if seconds >= 0 else f"in {short(-seconds)}"


def absolute(then: datetime | None) -> str | None:
    """Write a moment for programs: ISO 8601 in UTC, ending in `Z`."""
    return None if then is None else then.astimezone(UTC).isoformat().replace("+00:00", "Z")
