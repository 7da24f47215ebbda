"""Limits: what they are, how much of them is used, and changing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from supervisor.store import limits
from supervisor.store.limit_rows import Fallback, LimitForm, LimitPlace, LimitRow, LimitUnit, OnSpent
from supervisor.web.refusal import not_found
from supervisor.web.route import LOOK, WRITE_LIMITS, Method, get, post
from supervisor.web.structs import Answer, Body, Moment, Name, Page, Params, Person, Reason
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.limit_rows import LimitChange, LimitUsage
    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams


class OneLimit(Params, frozen=True, kw_only=True):
    """A limit, whose name has no spaces."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x20\x7f-\xa0]+$")]


class UsageWanted(OneLimit, frozen=True, kw_only=True):
    """Of which key; without one, of those that were used lately."""

    key: Annotated[str, msgspec.Meta(max_length=400)] | msgspec.UnsetType = msgspec.UNSET
    limit: Page = 100


class Limit(Answer, frozen=True, kw_only=True):
    """A limit. `periodS` is in seconds; `by`: what has a count of its own."""

    name: str
    form: LimitForm
    amount: float
    place: LimitPlace
    period_s: float | None
    burst: int | None
    unit: LimitUnit | None
    zone: str | None
    service: str | None
    kind: str | None
    queue: str | None
    tenant: str | None
    by: list[str]
    shadow: bool
    on_spent: OnSpent
    fallback: Fallback


class Limits(Answer, frozen=True, kw_only=True):
    """All limits, by name."""

    limits: list[Limit]
    timestamp: Moment


class Usage(Answer, frozen=True, kw_only=True):
    """How much of a limit is used for one key; `key` is empty where there is one count for all."""

    name: str
    key: str
    form: LimitForm
    place: LimitPlace
    shadow: bool
    used: float
    reserved: float
    amount: float
    remaining: float
    reset_at: Moment | None
    granted: int
    held_back: int
    shadowed: int


class Usages(Answer, frozen=True, kw_only=True):
    """The use of a limit, key by key."""

    usage: list[Usage]
    timestamp: Moment


class LimitDefinition(Body, frozen=True, kw_only=True):
    """What a limit is to be; what does not fit together is refused, with the remedy."""

    form: LimitForm
    amount: Annotated[float, msgspec.Meta(ge=0, le=1e15)]
    place: LimitPlace = "start"
    period_s: Annotated[float, msgspec.Meta(gt=0, le=31_622_400)] | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    unit: LimitUnit | None = None
    zone: Name | None = None
    service: Name | None = None
    kind: Name | None = None
    queue: Name | None = None
    tenant: Name | None = None
    by: Annotated[tuple[Name, ...], msgspec.Meta(max_length=8)] = ()
    shadow: bool = False
    on_spent: OnSpent = "wait"
    fallback: Fallback = "closed"
    reason: Reason
    triggered_by: Person
    dry_run: bool = False


class LimitRemoval(Body, frozen=True, kw_only=True):
    """Why it is removed."""

    reason: Reason
    triggered_by: Person
    dry_run: bool = False


class LimitChanged(Answer, frozen=True, kw_only=True):
    """What became of a change; what was so already is none."""

    changed: bool
    dry_run: bool
    epoch: int
    before: Limit | None
    after: Limit | None
    timestamp: Moment


async def list_limits(call: Call[NoParams, NoBody]) -> Limits:
    """List all limits."""
    async with call.site.link() as link:
        found = await limits.listed(link)
    return Limits(limits=[_limit(row) for row in found], timestamp=now())


async def show_limit(call: Call[OneLimit, NoBody]) -> Limit:
    """Show one limit."""
    async with call.site.link() as link:
        found = await limits.listed(link)
    for row in found:
        if row.name == call.params.name:
            return _limit(row)
    raise _unknown(call.params.name)


async def show_usage(call: Call[UsageWanted, NoBody]) -> Usages:
    """Show how much of a limit is used."""
    wanted = call.params
    key = None if isinstance(wanted.key, msgspec.UnsetType) else wanted.key
    async with call.site.link() as link:
        if wanted.name not in {row.name for row in await limits.listed(link)}:
            raise _unknown(wanted.name)
        found = await limits.limit_status(link, wanted.name, key, most=wanted.limit)
    return Usages(usage=[_usage(row) for row in found], timestamp=now())


async def set_limit(call: Call[OneLimit, LimitDefinition]) -> LimitChanged:
    """Make a limit, or change it."""
    body = call.body
    row = LimitRow(
        name=call.params.name,
        **{field: getattr(body, field) for field in LimitDefinition.__struct_fields__ if field not in _ABOUT},
    )
    async with call.site.link() as link:
        made = await limits.set_limit(
            link,
            row,
            reason=body.reason,
            actor=call.actor(body.triggered_by),
            source=call.source,
            request_id=call.request_id,
            dry_run=body.dry_run,
        )
    return _changed(made, dry_run=body.dry_run)


async def drop_limit(call: Call[OneLimit, LimitRemoval]) -> LimitChanged:
    """Remove a limit."""
    body = call.body
    async with call.site.link() as link:
        made = await limits.drop_limit(
            link,
            call.params.name,
            reason=body.reason,
            actor=call.actor(body.triggered_by),
            source=call.source,
            request_id=call.request_id,
            dry_run=body.dry_run,
        )
    if made.before is None:
        raise _unknown(call.params.name)
    return _changed(made, dry_run=body.dry_run)


_ABOUT: Final = frozenset({"reason", "triggered_by", "dry_run"})


def _unknown(name: str) -> Exception:
    return not_found(f"there is no limit {name}", "see /api/limits")


def _limit(row: LimitRow) -> Limit:
    return msgspec.convert(row, Limit, from_attributes=True)


def _usage(row: LimitUsage) -> Usage:
    return msgspec.convert(row, Usage, from_attributes=True)


def _changed(made: LimitChange, *, dry_run: bool) -> LimitChanged:
    return LimitChanged(
        changed=made.changed,
        dry_run=dry_run,
        epoch=made.epoch,
        before=None if made.before is None else _limit(made.before),
        after=None if made.after is None else _limit(made.after),
        timestamp=now(),
    )


_ONE: Final = "/api/limits/{name}"
_CHANGE: Final = "Make a limit, or change it"
ROUTES: Final[Sequence[AnyRoute]] = (
    get("/api/limits", list_limits, Limits, "All limits", access=LOOK),
    get(_ONE, show_limit, Limit, "One limit", access=LOOK, params=OneLimit),
    get(f"{_ONE}/status", show_usage, Usages, "How much of it is used?", access=LOOK, params=UsageWanted),
    post(
        _ONE,
        set_limit,
        LimitChanged,
        _CHANGE,
        access=WRITE_LIMITS,
        params=OneLimit,
        body=LimitDefinition,
        method=Method.PUT,
    ),
    post(
        _ONE,
        drop_limit,
        LimitChanged,
        "Remove a limit",
        access=WRITE_LIMITS,
        params=OneLimit,
        body=LimitRemoval,
        method=Method.DELETE,
    ),
)
