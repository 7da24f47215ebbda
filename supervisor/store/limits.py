"""Statements on limits: what they are, how much of them is used, and why a job waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import orjson

from supervisor.store.gates import claim_gated
from supervisor.store.job_rows import USUAL
from supervisor.store.limit_rows import GatedClaim, Grant, LimitChange, LimitRow, LimitUsage, Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncpg import Record

    from supervisor.store.link import Link

__all__ = [
    "GatedClaim",
    "Grant",
    "LimitChange",
    "LimitRow",
    "LimitUsage",
    "Obstacle",
    "claim_gated",
    "drop_limit",
    "limit_status",
    "listed",
    "offer",
    "prune",
    "reline",
    "set_limit",
    "set_weight",
    "tidy",
    "weights",
    "why",
]

_SET: Final = """
SELECT epoch, changed, before, after
FROM supervisor.set_limit($1, $2::jsonb, $3, $4, source => $5, request_id => $6, if_missing => $7, dry_run => $8)"""
_DROP: Final = """
SELECT epoch, changed, before, after
FROM supervisor.drop_limit($1, $2, $3, source => $4, request_id => $5, dry_run => $6)"""
_LISTED: Final = "SELECT supervisor.limit_as_json(known) FROM supervisor.limits AS known ORDER BY known.name"
_STATUS: Final = """
SELECT name, key, form, place, shadow, used, reserved, amount, remaining, reset_at, granted, held_back, shadowed
FROM supervisor.limit_status($1, $2, $3)"""
_WEIGHT: Final = "SELECT supervisor.set_weight($1, $2, $3, $4, source => $5, request_id => $6)"


async def set_limit(  # noqa: PLR0913 - who, why and from where
    link: Link,
    row: LimitRow,
    *,
    reason: str,
    actor: str,
    source: str | None = None,
    request_id: str | None = None,
    if_missing: bool = False,
    dry_run: bool = False,
    within: float = USUAL,
) -> LimitChange:
    """Make a limit, or change it; `if_missing`: not if there is one of that name.

    It holds everywhere once this returns. A change of the amount or period keeps what is counted; one of what is
    counted begins anew. Raises StatementRefused (22023) for a limit that cannot be, with the remedy.
    """
    definition = orjson.dumps(row.definition).decode()
    (found,) = await link.fetch(
        _SET, row.name, definition, reason, actor, source, request_id, if_missing, dry_run, within=within
    )
    return _change(found)


async def drop_limit(  # noqa: PLR0913 - the same
    link: Link,
    name: str,
    *,
    reason: str,
    actor: str,
    source: str | None = None,
    request_id: str | None = None,
    dry_run: bool = False,
    within: float = USUAL,
) -> LimitChange:
    """Remove a limit; what waits for it may start. Not `changed` if there is none of that name."""
    (found,) = await link.fetch(_DROP, name, reason, actor, source, request_id, dry_run, within=within)
    return _change(found)


async def offer(link: Link, rows: Iterable[LimitRow], *, within: float = USUAL) -> int:
    """Make the limits that a program declares, where there is none of that name; returns how many were made."""
    there = {row.name for row in await listed(link, within=within)}
    made = 0
    for row in rows:
        if row.name not in there:
            change = await set_limit(
                link, row, reason="declared by the app", actor="app", if_missing=True, within=within
            )
            made += change.changed
    return made


async def listed(link: Link, *, within: float = USUAL) -> list[LimitRow]:
    """List all limits, by name."""
    return [_row(record[0]) for record in await link.fetch(_LISTED, within=within)]


async def limit_status(
    link: Link, name: str | None = None, key: str | None = None, *, most: int = 1000, within: float = USUAL
) -> list[LimitUsage]:
    """Say how much of a limit is used, for each key that was used lately, up to `most` in all.

    With `key` for that one alone, which need not have been used; without `name`, for all limits.
    """
    return [LimitUsage(*record) for record in await link.fetch(_STATUS, name, key, most, within=within)]


async def why(link: Link, job: int, *, within: float = USUAL) -> list[Obstacle]:
    """List every reason why a job does not run now."""
    rows = await link.fetch("SELECT what, key, until, detail FROM supervisor.why($1)", job, within=within)
    return [Obstacle(*record) for record in rows]


async def weights(link: Link, *, within: float = USUAL) -> Mapping[str, float]:
    """Return the tenants that have a weight other than 1, each with it."""
    rows = await link.fetch("SELECT tenant, weight FROM supervisor.tenants ORDER BY tenant", within=within)
    return {cast("str", record[0]): float(record[1]) for record in rows}


async def set_weight(  # noqa: PLR0913 - who, why and from where
    link: Link,
    tenant: str,
    weight: float,
    *,
    reason: str,
    actor: str,
    source: str | None = None,
    request_id: str | None = None,
    within: float = USUAL,
) -> bool:
    """Give a tenant a weight, from 0.01 to 100: of two with work, one with 2 gets twice the turns of one with 1.

    Returns whether it had another. Raises StatementRefused (22023).
    """
    return bool(await link.fetchval(_WEIGHT, tenant, weight, reason, actor, source, request_id, within=within))


async def tidy(link: Link, most: int, *, within: float = USUAL) -> int:
    """Do what nobody waits for: return expired reservations, forget what is over, pause what is spent.

    Of each sort up to `most`; returns how much was done. Any number of hosts may call it.
    """
    return cast("int", await link.fetchval("SELECT supervisor.tidy_limits($1)", most, within=within))


async def reline(link: Link, most: int, *, within: float = USUAL) -> int:
    """Put up to `most` jobs into the lines where they belong since a limit counts by something else.

    Returns how many were looked at; 0 if there is nothing to do, or another host is at it.
    """
    return cast("int", await link.fetchval("SELECT supervisor.reline($1)", most, within=within))


async def prune(link: Link, most: int, *, within: float = USUAL) -> int:
    """Forget what counts nothing any more, up to `most` rows of each sort; returns how many."""
    return cast("int", await link.fetchval("SELECT supervisor.prune_limits($1)", most, within=within))


def _change(record: Record) -> LimitChange:
    before, after = record[2], record[3]
    return LimitChange(
        record[0], record[1], None if before is None else _row(before), None if after is None else _row(after)
    )


def _row(text: str) -> LimitRow:
    fields = orjson.loads(text)
    return LimitRow(**{**fields, "by": tuple(fields.get("by", ()))})
