"""The audit log: who changed what and why, and whether the log is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from supervisor.store import audit
from supervisor.web.route import READ_AUDIT, get
from supervisor.web.structs import Answer, Moment, Name, Page, Params
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams


class EntriesWanted(Params, frozen=True, kw_only=True):
    """Which entries; `before` goes on behind an earlier page."""

    scope: Name | msgspec.UnsetType = msgspec.UNSET
    name: Name | msgspec.UnsetType = msgspec.UNSET
    actor: Name | msgspec.UnsetType = msgspec.UNSET
    accepted: bool | msgspec.UnsetType = msgspec.UNSET
    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | msgspec.UnsetType = msgspec.UNSET
    limit: Page = 50


class Entry(Answer, frozen=True, kw_only=True):
    """One entry: `actor` did `actionType` to `name` of `scope`, or tried to if it was not accepted."""

    id: int
    action_type: str
    scope: str | None
    name: str | None
    actor: str
    reason: str | None
    before: Any
    after: Any
    accepted: bool
    source: str | None
    request_id: str | None
    epoch: int | None
    created_at: Moment
    digest: Annotated[str, msgspec.Meta(description="SHA-256 of this entry and all before it, in hexadecimal.")]


class Entries(Answer, frozen=True, kw_only=True):
    """Entries, the latest first; `next` is what `before` of the next page should be."""

    entries: list[Entry]
    next: int | None
    timestamp: Moment


class Verified(Answer, frozen=True, kw_only=True):
    """Whether the log is whole: no entry was changed, removed or put in. `last` and `digest` are worth writing down."""

    whole: bool
    checked: int
    first_bad: int | None
    problem: str | None
    last: int
    digest: str
    timestamp: Moment


async def list_entries(call: Call[EntriesWanted, NoBody]) -> Entries:
    """List entries, the latest first."""
    wanted = call.params
    async with call.site.link() as link:
        found = await audit.listed(
            link,
            wanted.limit,
            before_id=_given(wanted.before),
            scope=_given(wanted.scope),
            name=_given(wanted.name),
            actor=_given(wanted.actor),
            accepted=_given(wanted.accepted),
        )
    entries = [
        Entry(
            **{name: getattr(one, name) for name in Entry.__struct_fields__ if name != "digest"},
            digest=one.digest.hex(),
        )
        for one in found
    ]
    full = len(found) == wanted.limit
    return Entries(entries=entries, next=found[-1].id if full else None, timestamp=now())


async def verify(call: Call[NoParams, NoBody]) -> Verified:
    """Check every entry against the one before it."""
    async with call.site.link() as link:
        found = await audit.verify(link)
    return Verified(
        whole=found.is_whole,
        checked=found.checked,
        first_bad=found.first_bad,
        problem=found.problem,
        last=found.end.id,
        digest=found.end.digest.hex(),
        timestamp=now(),
    )


def _given(value: Any) -> Any:  # noqa: ANN401 - a parameter of whatever type
    return None if isinstance(value, msgspec.UnsetType) else value


ROUTES: Final[Sequence[AnyRoute]] = (
    get("/api/system/audit", list_entries, Entries, "Who changed what", access=READ_AUDIT, params=EntriesWanted),
    get("/api/system/audit/verify", verify, Verified, "Is the log whole?", access=READ_AUDIT),
)
