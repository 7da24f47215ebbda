"""Reads the options of `limits set`: how much of what in which time, as in `10/1h`, `5/s`, `1000/day`."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

_AMOUNT: Final = re.compile(r"\s*([^/\s]+)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-zA-Z]+)\s*")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_SECONDS: Final[Mapping[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}
CALENDAR: Final[Mapping[str, str]] = {"h": "hour", "d": "day", "w": "week", "month": "month"}
"""The periods of a calendar, by what they are called here."""

PER: Final = ("tenant", "kind", "queue", "service")
"""What a limit can be counted by, besides a field of the arguments: `args.customer`."""

_PATH: Final = re.compile(r"args(\.[^.\s]{1,64}){1,8}")
_MOST: Final = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """So much in so long. `period` is in seconds, None for a calendar's period, which is `unit`."""

    form: str
    amount: float
    period: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A limit as the command line says it; None selects all, and `per` is what it is counted by."""

    name: str
    amount: Amount
    burst: int | None
    zone: str | None
    per: tuple[str, ...]
    place: str
    on_spent: str
    fallback: str
    shadow: bool
    service: str | None
    kind: str | None
    queue: str | None
    tenant: str | None


def amount_of(given: Mapping[str, str | int | None]) -> Amount:
    """Read the one of the options window, rate, concurrency, quota and budget that was given."""
    there = {name: value for name, value in given.items() if value is not None}
    if len(there) != 1:
        said = f"not {' and '.join(f'--{name}' for name in there)} at once" if there else "none of them is there"
        raise typer.BadParameter(
            f"say how much with one of --window 10/1h, --rate 5/s, --concurrency 3, --quota 1000/day, "
            f"--budget 50/month; {said}"
        )
    ((name, value),) = there.items()
    return Amount(form=name, amount=value) if isinstance(value, int) else _in_a_time(name, value)


def per(given: str | None) -> tuple[str, ...]:
    """Read what a limit is counted by, as in `tenant,kind`; nothing means one count for all."""
    if given is None:
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",")))
    for name in names:
        if name not in PER and not _PATH.fullmatch(name):
            raise typer.BadParameter(
                f"{name!r} is nothing to count by; take {', '.join(PER)}, or a field of the arguments, as in "
                "args.customer; several with commas",
                param_hint="--per",
            )
    return names


def zone_of(given: str | None, wanted: Amount) -> str | None:
    """Check the time zone in which a day or month turns."""
    if given is None:
        return None
    if wanted.unit is None:
        raise typer.BadParameter("goes with --quota and --budget, which turn with the calendar", param_hint="--zone")
    try:
        zoneinfo.ZoneInfo(given)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(
            f"{given!r} is no time zone; write it as in Europe/Berlin, or leave it out for UTC", param_hint="--zone"
        ) from None
    return given


def burst_of(given: int | None, wanted: Amount) -> int | None:
    """Check how many may start at once."""
    if given is not None and wanted.form != "rate":
        raise typer.BadParameter(
            "goes with --rate; a window, a quota or a budget can be used up at once anyway", param_hint="--burst"
        )
    return given


def amount_text(form: str, amount: float, period: float | None, unit: str | None) -> str:
    """Write it as `limits set` reads it: `10/1h`, `5/s`, `3`, `1000/day`."""
    number = f"{amount:.15g}"
    if form == "concurrency" or (period is None and unit is None):
        return number
    return f"{number}/{unit if unit is not None else _period_text(period or 0.0)}"


def _in_a_time(name: str, text: str) -> Amount:
    option = f"--{name}"
    calendar = name in {"quota", "budget"}
    example = {"window": "10/1h", "rate": "5/s", "quota": "1000/day", "budget": "50/month"}[name]
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no amount in a time; write it as in {example}", param_hint=option)
    amount = _number(found[1], option, whole=name != "budget")
    unit = found[3].lower()
    unit = "month" if unit in {"month", "months", "mon"} else _UNITS.get(unit, "")
    if calendar:
        if unit not in CALENDAR or found[2] not in {None, "1"}:
            raise typer.BadParameter(
                f"{text!r}: it turns with the calendar, each hour, day, week or month; write it as in {example}, "
                "or take --window for any other length",
                param_hint=option,
            )
        return Amount(form=name, amount=amount, unit=CALENDAR[unit])
    if unit not in _SECONDS:
        raise typer.BadParameter(
            f"{text!r}: {found[3]!r} is no unit of time here; take s, m, h, d or w, as in {example}", param_hint=option
        )
    period = _number(found[2] or "1", option, whole=False) * _SECONDS[unit]
    if not period:
        raise typer.BadParameter(f"{text!r}: a time must be above 0, as in {example}", param_hint=option)
    return Amount(form=name, amount=amount, period=period)


def _number(text: str, option: str, *, whole: bool) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else -1.0
    if value < 0 or value > _MOST or (whole and value != int(value)):
        kind = "a whole number from 0" if whole else "a number from 0"
        raise typer.BadParameter(f"{text!r} is not {kind} to {_MOST:.0f}", param_hint=option)
    return value


def _period_text(seconds: float) -> str:
    for unit, size in reversed(list(_SECONDS.items())):
        if seconds >= size and seconds % size == 0:
            count = seconds / size
            return unit if count == 1 else f"{count:g}{unit}"
    return f"{seconds:g}s"
