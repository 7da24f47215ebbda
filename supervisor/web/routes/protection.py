"""What protects from overload, and how much of its limit a client has used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from supervisor.store import figures, limits
from supervisor.web.refusal import not_found
from supervisor.web.reports import Slow, slow_of
from supervisor.web.route import LOOK, Access, get
from supervisor.web.structs import Answer, Count, Moment, Name, Params
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.limit_rows import LimitRow, LimitUsage
    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams

_HOUR: Final = 3600.0
_NEARLY: Final = 0.1
_MOST_USES: Final = 1000
_SHOWN: Final = 20


class Client(Params, frozen=True, kw_only=True):
    """A client, which is a tenant."""

    client_id: Name


class LimitUse(Answer, frozen=True, kw_only=True):
    """A limit that is used up, or nearly."""

    name: str
    key: str
    used: float
    amount: float
    remaining: float
    reset_at: Moment | None
    held_back: int


class SafetyReport(Answer, frozen=True, kw_only=True):
    """What protects from overload, and whether it is at work now."""

    kill_switch: bool
    mode: str
    max_url_length: int
    max_payload_bytes: int
    slots: Count
    free: Count
    limits: Count
    nearly_spent: list[LimitUse]
    full_queues: list[str]
    slow_jobs: list[Slow]
    timestamp: Moment


class RateLimit(Answer, frozen=True, kw_only=True):
    """How much of its limit a client has used; of several, the one of which least is left."""

    client_id: str
    name: str
    scans_this_hour: float
    limit: float
    remaining: float
    reset_time: Moment | None
    timestamp: Moment


async def show_safety(call: Call[NoParams, NoBody]) -> SafetyReport:
    """Say what protects from overload."""
    switches = await call.site.switches.get()
    async with call.site.link() as link:
        known = await limits.listed(link)
        used = await limits.limit_status(link, most=_MOST_USES)
        queues = await figures.queues(link)
        slow = await figures.slow_jobs(link)
    shown = call.site.board.shown
    spent = sorted((one for one in used if one.remaining <= _NEARLY * one.amount), key=lambda one: one.remaining)
    return SafetyReport(
        kill_switch=switches.killed,
        mode=switches.mode.value,
        max_url_length=call.site.settings.max_url_length,
        max_payload_bytes=call.site.settings.max_payload,
        slots=shown.slots,
        free=max(0, shown.free),
        limits=len(known),
        nearly_spent=[msgspec.convert(one, LimitUse, from_attributes=True) for one in spent[:_SHOWN]],
        full_queues=[row.queue for row in queues if row.max_depth is not None and row.depth >= row.max_depth],
        slow_jobs=slow_of(slow),
        timestamp=now(),
    )


async def show_rate_limit(call: Call[Client, NoBody]) -> RateLimit:
    """Say how much of its limit a client has used."""
    client = call.params.client_id
    call.must_cover(tenant=client)
    async with call.site.link() as link:
        names = _of_clients(await limits.listed(link), client)
        found: list[LimitUsage] = []
        for name, key in names:
            found += await limits.limit_status(link, name, key, most=1)
    if not found:
        raise not_found("no limit counts by client", "make one that counts by tenant: python -m supervisor limits set")
    tightest = min(found, key=lambda one: one.remaining)
    return RateLimit(
        client_id=client,
        name=tightest.name,
        scans_this_hour=tightest.used,
        limit=tightest.amount,
        remaining=max(0.0, tightest.remaining),
        reset_time=tightest.reset_at,
        timestamp=now(),
    )


def _of_clients(known: Sequence[LimitRow], client: str) -> list[tuple[str, str]]:
    """Name the limits that count this client alone, each with its key; those of an hour, if there are any."""
    rows = [row for row in known if row.by == ("tenant",) and row.tenant in {None, client}]
    rows += [row for row in known if not row.by and row.tenant == client]
    hourly = [row for row in rows if row.period_s == _HOUR or row.unit == "hour"]
    return [(row.name, client if row.by else "") for row in hourly or rows]


_AT: Final = "/api/monitoring"
ROUTES: Final[Sequence[AnyRoute]] = (
    get(f"{_AT}/safety", show_safety, SafetyReport, "What protects from overload?", access=LOOK),
    get(
        f"{_AT}/rate-limit/{{clientId}}",
        show_rate_limit,
        RateLimit,
        "How much has a client used?",
        access=Access(LOOK.role, confined=True),
        params=Client,
    ),
)
