"""Statements of handlers that spend what a limit allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from supervisor.store.job_rows import USUAL
from supervisor.store.limit_rows import Grant

if TYPE_CHECKING:
    from supervisor.store.link import Link

_RESERVE: Final = """
SELECT id, granted, retry_at, retry_after, spent, charged_key, is_open
FROM supervisor.reserve($1, $2, $3, $4, $5, $6, $7, $8)"""
_SETTLE: Final = "SELECT settled, spent FROM supervisor.settle($1, $2)"
_PAUSE: Final = "SELECT supervisor.pause_spent(known.id, $2) FROM supervisor.limits AS known WHERE known.name = $1"


async def reserve(  # noqa: PLR0913 - what a reservation consists of
    link: Link,
    limit: str,
    amount: float,
    *,
    key: str | None = None,
    job: int | None = None,
    lock_version: int | None = None,
    ttl: float = 300.0,
    name: str | None = None,
    at_once: bool = False,
    within: float = USUAL,
) -> Grant:
    """Take `amount` of a limit of place `call`, to settle or refund it later, or `at_once` for good.

    key: whose share; None is the job's own. ttl: seconds after which it comes back if its run is over and said nothing.
    name: what was taken under it for the same job before is not taken again. Raises LeaseLost if the job is not run any
    more with this lock_version, StatementRefused (22023) if there is no such limit.
    """
    (row,) = await link.fetch(_RESERVE, limit, key, amount, job, lock_version, ttl, name, at_once, within=within)
    return Grant(*row)


async def settle(link: Link, reservation: int, actual: float, *, within: float = USUAL) -> tuple[bool, bool]:
    """Count what was spent instead of what was reserved; returns whether it was reserved, and whether all is spent."""
    (row,) = await link.fetch(_SETTLE, reservation, actual, within=within)
    return row[0], row[1]


async def refund(link: Link, reservation: int, *, within: float = USUAL) -> bool:
    """Give back what was reserved; returns whether it was."""
    return bool(await link.fetchval("SELECT supervisor.refund($1)", reservation, within=within))


async def pause_spent(link: Link, limit: str, key: str, *, within: float = USUAL) -> bool:
    """Pause what a limit is for, if it is spent for this key; returns whether it was."""
    return bool(cast("bool | None", await link.fetchval(_PAUSE, limit, key, within=within)))
