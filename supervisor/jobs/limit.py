"""Limits that a program declares: how much may start, be enqueued or be spent in which time, and for whom."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack

from supervisor.errors import ConfigError
from supervisor.jobs.job import Job
from supervisor.jobs.limits import SHORTEST, flag, label, seconds
from supervisor.store.limit_rows import LimitRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.limit_rows import Fallback, LimitForm, LimitPlace, LimitUnit, OnSpent

HOUR: Final = 3600.0
CLIENT_AMOUNT: Final = 10
"""Jobs an hour for one client, where a service has such a limit and nobody says how many."""

_MOST: Final = 10**12
_BY: Final = ("tenant", "kind", "queue", "service")
_PATH: Final = re.compile(r"args(\.[^.\s]{1,64}){1,8}")
_MOST_BY: Final = 8


class Scope(TypedDict, total=False):
    """For what a limit is, and how it counts.

    service, kind, queue, tenant: only jobs of that one. by: each of these has a count of its own: `tenant`, `kind`,
    `queue`, `service`, or a field of the arguments, as `args.customer`; a limit by tenant is not for jobs without one.
    shadow: only count what it would hold back.
    """

    service: str | None
    kind: str | Job[Any] | None
    queue: str | None
    tenant: str | None
    by: str | Sequence[str]
    shadow: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit, for all hosts together; make one with `window`, `rate`, `concurrency`, `quota` or `budget`.

    What starts waits until the limit has a permit, and costs no attempt. At `enqueue` it is refused with
    EnqueueLimited. At `call` the handler asks, with `ctx.spend` and `ctx.budget`. A program's limits are made where
    there are none of these names; after that, what people set holds. Raises ConfigError for a limit that cannot be.
    """

    row: LimitRow

    @staticmethod
    def window(name: str, amount: int, period: float, *, place: LimitPlace = "start", **scope: Unpack[Scope]) -> Limit:
        """Never more than `amount` in any `period` seconds."""
        owner = _owner(name)
        count, length = _amount(owner, amount, whole=True), seconds(owner, "period", period, least=SHORTEST)
        return Limit(LimitRow(**_common(name, "window", place, scope), amount=count, period_s=length))

    @staticmethod
    def rate(
        name: str,
        amount: int,
        period: float = 1.0,
        *,
        burst: int = 1,
        place: LimitPlace = "start",
        **scope: Unpack[Scope],
    ) -> Limit:
        """Evenly `amount` in each `period` seconds, up to `burst` of them at once.

        In any time t there may be burst + t x amount / period, so up to amount + burst - 1 in one period; where a
        remote limit must never be exceeded, take a window.
        """
        owner = _owner(name)
        count, length = _amount(owner, amount, whole=True), seconds(owner, "period", period, least=SHORTEST)
        return Limit(
            LimitRow(**_common(name, "rate", place, scope), amount=count, period_s=length, burst=_burst(owner, burst))
        )

    @staticmethod
    def concurrency(name: str, amount: int, **scope: Unpack[Scope]) -> Limit:
        """At most `amount` at the same time. Those of a host that died count until they are taken from it."""
        count = _amount(_owner(name), amount, whole=True)
        return Limit(LimitRow(**_common(name, "concurrency", "start", scope), amount=count))

    @staticmethod
    def quota(  # noqa: PLR0913 - keywords, each with a default
        name: str,
        amount: int,
        unit: LimitUnit,
        *,
        zone: str = "UTC",
        place: LimitPlace = "start",
        on_spent: OnSpent = "wait",
        fallback: Fallback = "closed",
        **scope: Unpack[Scope],
    ) -> Limit:
        """`amount` in each hour, day, week or month of the calendar in a time zone; a retry does not count again.

        on_spent: `pause` switches off what the limit is for (one service, tenant, queue or kind) until the unit turns.
        fallback: with `open`, calls go through while the database is out of reach.
        """
        row = _common(name, "quota", place, scope)
        count = _amount(_owner(name), amount, whole=True)
        return Limit(LimitRow(**row, amount=count, **_calendar(name, unit, zone, on_spent, fallback)))

    @staticmethod
    def budget(  # noqa: PLR0913 - the same
        name: str,
        amount: float,
        unit: LimitUnit,
        *,
        zone: str = "UTC",
        on_spent: OnSpent = "wait",
        fallback: Fallback = "closed",
        **scope: Unpack[Scope],
    ) -> Limit:
        """So much of anything, such as money, in each unit; the rest is as for `quota`. See `ctx.budget`."""
        row = _common(name, "budget", "call", scope)
        count = _amount(_owner(name), amount, whole=False)
        return Limit(LimitRow(**row, amount=count, **_calendar(name, unit, zone, on_spent, fallback)))

    @staticmethod
    def per_client(
        service: str,
        amount: int = CLIENT_AMOUNT,
        period: float = HOUR,
        *,
        name: str | None = None,
        place: Literal["start", "enqueue"] = "enqueue",
    ) -> Limit:
        """The usual limit of a service: 10 jobs an hour for each tenant; more are refused when they are enqueued."""
        return Limit.window(
            f"{service}_per_client" if name is None else name, amount, period, place=place, service=service, by="tenant"
        )

    @property
    def name(self) -> str:
        """What it is called in commands, errors and metrics."""
        return self.row.name


class _Common(TypedDict):
    name: str
    form: LimitForm
    place: LimitPlace
    service: str | None
    kind: str | None
    queue: str | None
    tenant: str | None
    by: tuple[str, ...]
    shadow: bool


class _Calendar(TypedDict):
    unit: LimitUnit
    zone: str
    on_spent: OnSpent
    fallback: Fallback


def _owner(name: object) -> str:
    return f"Limit {name!r}"


def _common(name: str, form: LimitForm, place: LimitPlace, scope: Scope) -> _Common:
    owner = _owner(name)
    kind = scope.get("kind")
    by = scope.get("by", ())
    return _Common(
        name=label("Limit", "name", name),
        form=form,
        place=_one_of(owner, "place", place, ("start", "enqueue", "call")),
        service=_selector(owner, "service", scope.get("service")),
        kind=_selector(owner, "kind", kind.kind if isinstance(kind, Job) else kind),
        queue=_selector(owner, "queue", scope.get("queue")),
        tenant=_tenant(owner, scope.get("tenant")),
        by=_checked_by(owner, (by,) if isinstance(by, str) else by),
        shadow=flag(owner, "shadow", scope.get("shadow", False)),
    )


def _calendar(name: str, unit: LimitUnit, zone: str, on_spent: OnSpent, fallback: Fallback) -> _Calendar:
    owner = _owner(name)
    return _Calendar(
        unit=_one_of(owner, "unit", unit, ("hour", "day", "week", "month")),
        zone=label(owner, "zone", zone),
        on_spent=_one_of(owner, "on_spent", on_spent, ("wait", "pause")),
        fallback=_one_of(owner, "fallback", fallback, ("closed", "open")),
    )


def _amount(owner: str, value: object, *, whole: bool) -> float:
    wanted = "a whole number" if whole else "a number"
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= _MOST
        or (whole and value != math.floor(value))
    ):
        raise ConfigError(f"{owner}: amount={value!r}: must be {wanted} from 0 to 10^12")
    return float(value)


def _burst(owner: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise ConfigError(f"{owner}: burst={value!r}: must be a whole number from 1")
    return value


def _one_of(owner: str, field: str, value: Any, allowed: tuple[str, ...]) -> Any:  # noqa: ANN401 - a literal of allowed
    if value not in allowed:
        raise ConfigError(f"{owner}: {field}={value!r}: must be one of {', '.join(allowed)}")
    return value


def _selector(owner: str, field: str, value: object) -> str | None:
    return None if value is None else label(owner, field, value)


def _tenant(owner: str, value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and value.isprintable() and 1 <= len(value) <= 128):  # noqa: PLR2004
        raise ConfigError(f"{owner}: tenant={value!r}: must be 1 to 128 printable characters")
    return value


def _checked_by(owner: str, names: Sequence[object]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or not (name in _BY or _PATH.fullmatch(name)):
            raise ConfigError(
                f"{owner}: by has {name!r}: must be {', '.join(_BY)}, or a field of the arguments such as 'args.url'"
            )
    if len(names) > _MOST_BY:
        raise ConfigError(f"{owner}: by has {len(names)} entries: it may have {_MOST_BY}")
    return tuple(str(name) for name in names)
