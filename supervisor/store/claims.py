"""Statements that claim jobs of tenants, which take turns, and jobs behind gates, which need a permit to start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from supervisor.store.job_rows import CLAIMED_COLUMNS, USUAL, ClaimedJob, Cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.link import Link

_READY: Final = "SELECT tenant, weight FROM supervisor.ready_tenants($1, $2, $3)"
_CLAIM: Final = f"SELECT {CLAIMED_COLUMNS} FROM supervisor.claim_tenants($1, $2, $3, $4, $5, $6, $7, $8)"  # noqa: S608 - constants
_IN_ORDER: Final = f"SELECT {CLAIMED_COLUMNS} FROM supervisor.claim_in_order($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 - constants
_START: Final = (None, None, None)


class ReadyTenant(NamedTuple):
    """A tenant with jobs that nobody has claimed; among those with such jobs, slots are shared by weight."""

    tenant: str
    weight: float


class Turn(NamedTuple):
    """So many jobs of one tenant at most, behind the cursor; None looks from the start."""

    tenant: str
    take: int
    cursor: Cursor | None = None


async def ready_tenants(
    link: Link, queue: str, after: str | None, most: int, *, within: float = USUAL
) -> list[ReadyTenant]:
    """List up to `most` tenants with unclaimed jobs in a queue, by name, behind `after`. Raises DatabaseUnavailable."""
    return [ReadyTenant(*row) for row in await link.fetch(_READY, queue, after, most, within=within)]


async def claim_tenants(  # noqa: PLR0913 - the claim's own parameters
    link: Link,
    worker: int,
    queue: str,
    kinds: Sequence[str],
    turns: Sequence[Turn],
    *,
    within: float = USUAL,
) -> list[ClaimedJob]:
    """Claim jobs of these tenants, each of which is named once, in no order.

    Only jobs that were never lost with a worker. Raises LeaseLost if the worker has no lease, DatabaseUnavailable.
    """
    names, takes, cursors = zip(*turns, strict=True)
    places = zip(*(cursor or _START for cursor in cursors), strict=True)
    return await link.fetch_as(ClaimedJob, _CLAIM, worker, queue, kinds, names, takes, *places, within=within)


async def claim_in_order(  # noqa: PLR0913, PLR0917 - the claim's own parameters
    link: Link,
    worker: int,
    queue: str,
    kinds: Sequence[str],
    most: int,
    cursor: Cursor | None = None,
    *,
    within: float = USUAL,
) -> list[ClaimedJob]:
    """Claim up to `most` jobs of tenants, whosever they are; else as `jobs.claim`."""
    return await link.fetch_as(ClaimedJob, _IN_ORDER, worker, queue, kinds, most, *(cursor or _START), within=within)
