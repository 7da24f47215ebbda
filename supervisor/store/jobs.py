"""Statements on live jobs: the claim, what a worker does with what it has claimed, and what people do to jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from supervisor.store.job_rows import (
    CLAIMED_COLUMNS,
    USUAL,
    CancelledJob,
    ClaimedJob,
    Cursor,
    Ended,
    HandedBack,
    RetriedJob,
    Suspects,
)
from supervisor.store.job_views import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from supervisor.store.link import Link

__all__ = [
    "CancelledJob",
    "ClaimedJob",
    "Cursor",
    "Ended",
    "HandedBack",
    "RetriedJob",
    "Suspects",
    "cancel",
    "claim",
    "claim_suspects",
    "complete",
    "extend",
    "finish",
    "hand_back",
    "orphans",
    "promote",
    "retry",
    "show",
    "still_held",
    "suspects",
    "wake",
]

_CLAIM: Final = f"SELECT {CLAIMED_COLUMNS} FROM supervisor.claim($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 - constants
_CLAIM_SUSPECTS: Final = f"SELECT {CLAIMED_COLUMNS} FROM supervisor.claim_suspects($1, $2, $3, $4, $5, $6)"  # noqa: S608
_START: Final = (None, None, None)


async def claim(  # noqa: PLR0913, PLR0917 - the claim's own parameters
    link: Link,
    worker: int,
    queue: str,
    kinds: Sequence[str],
    most: int,
    cursor: Cursor | None = None,
    *,
    within: float = USUAL,
) -> list[ClaimedJob]:
    """Claim up to `most` jobs of a queue behind the cursor, in no order; None looks from the start.

    Only jobs that were never lost with a worker. Raises LeaseLost if the worker has no lease, DatabaseUnavailable.
    """
    return await link.fetch_as(ClaimedJob, _CLAIM, worker, queue, kinds, most, *(cursor or _START), within=within)


async def claim_suspects(  # noqa: PLR0913 - the claim's own parameters
    link: Link,
    worker: int,
    queues: Sequence[str],
    kinds: Sequence[str],
    most: int,
    *,
    least_losses: int,
    most_losses: int,
    within: float = USUAL,
) -> list[ClaimedJob]:
    """Claim up to `most` jobs that were lost with a worker that many times before; raises as `claim`."""
    return await link.fetch_as(
        ClaimedJob, _CLAIM_SUSPECTS, worker, queues, kinds, most, least_losses, most_losses, within=within
    )


async def suspects(
    link: Link, queues: Sequence[str], kinds: Sequence[str], last_losses: int, *, within: float = USUAL
) -> Suspects:
    """Count the claimable jobs with fewer losses than `last_losses`, but at least one, and those with as many."""
    (row,) = await link.fetch(
        "SELECT in_company, alone FROM supervisor.suspects($1, $2, $3)", queues, kinds, last_losses, within=within
    )
    return Suspects(*row)


async def complete(
    link: Link, ids: Sequence[int], lock_versions: Sequence[int], *, steps: bool = False, within: float = USUAL
) -> set[int]:
    """End jobs as completed; `steps` for those that have recorded any. Returns those for which the fence held."""
    sql = "SELECT supervisor.complete_with_steps($1, $2)" if steps else "SELECT supervisor.complete($1, $2)"
    return {row[0] for row in await link.fetch(sql, ids, lock_versions, within=within)}


async def finish(link: Link, rows: Iterable[Ended], *, within: float = USUAL) -> set[int]:
    """End jobs, each with its status. Returns those for which the fence held."""
    columns = [(row.id, row.lock_version, row.status, row.error, row.traceback) for row in rows]
    return await _ids(link, "SELECT supervisor.finish($1, $2, $3, $4, $5)", columns, within)


async def hand_back(link: Link, rows: Iterable[HandedBack], *, within: float = USUAL) -> set[int]:
    """Give jobs back to run again. Returns those for which the fence held; a last retry has become a failure."""
    columns = [(row.id, row.lock_version, row.reason, row.delay, row.error, row.traceback) for row in rows]
    return await _ids(link, "SELECT supervisor.hand_back($1, $2, $3, $4, $5, $6)", columns, within)


async def still_held(
    link: Link, ids: Sequence[int], lock_versions: Sequence[int], *, within: float = USUAL
) -> set[int]:
    """Return those jobs whose claim is still in force."""
    rows = await link.fetch("SELECT supervisor.still_held($1, $2)", ids, lock_versions, within=within)
    return {row[0] for row in rows}


async def orphans(link: Link, worker: int, *, within: float = USUAL) -> list[tuple[int, int]]:
    """List all jobs that a worker holds: id and lock_version."""
    rows = await link.fetch("SELECT id, lock_version FROM supervisor.orphans($1)", worker, within=within)
    return [(row[0], row[1]) for row in rows]


async def extend(link: Link, job: int, lock_version: int, seconds: float, *, within: float = USUAL) -> datetime | None:
    """Move a job's deadline to `seconds` from now and return it; None if the lease was lost."""
    sql = "SELECT supervisor.extend_deadline($1, $2, $3)"
    return cast("datetime | None", await link.fetchval(sql, job, lock_version, float(seconds), within=within))


async def promote(link: Link, most: int, *, within: float = USUAL) -> int:
    """Move up to `most` jobs whose time has come to where they can be claimed; return how many."""
    return cast("int", await link.fetchval("SELECT supervisor.promote($1)", most, within=within))


async def wake(link: Link, queues: Sequence[str], *, within: float = USUAL) -> None:
    """Wake the workers that sleep on these queues; inside a transaction, at its commit."""
    await link.fetch("SELECT supervisor.wake($1)", queues, within=within)


async def cancel(
    link: Link, ids: Sequence[int], reason: str | None = None, *, within: float = USUAL
) -> list[CancelledJob]:
    """End live jobs as cancelled, also those that run; ids that are not live are missing from the answer."""
    rows = await link.fetch("SELECT id, was_running FROM supervisor.cancel_jobs($1, $2)", ids, reason, within=within)
    return [CancelledJob(*row) for row in rows]


async def retry(link: Link, ids: Sequence[int], *, within: float = USUAL) -> list[RetriedJob]:
    """Make jobs that are over run again, and jobs that wait run at once."""
    rows = await link.fetch("SELECT id, problem FROM supervisor.retry_jobs($1)", ids, within=within)
    return [RetriedJob(*row) for row in rows]


async def _ids(link: Link, sql: str, rows: Sequence[tuple[object, ...]], within: float) -> set[int]:
    if not rows:
        return set()
    return {row[0] for row in await link.fetch(sql, *map(list, zip(*rows, strict=True)), within=within)}
