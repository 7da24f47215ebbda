"""Statements of the actors that keep the tables in order: what is due, what is left to do, what can be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.link import Link

# A blocked job is due at infinity, which is no number of seconds. What stands in a line is in no order of time.
_NEXT_DUE: Final = (
    "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 "
    "FROM supervisor.jobs_waiting WHERE line IS NULL AND due_at < 'infinity'"
)
# As in the claim: what a switch has turned off will not start, so nobody need wait for it.
_ON: Final = (
    "supervisor.blocked_by(switches, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential) IS NULL"
)
# One statement, so that a job cannot slip from one table to the other between two looks.
_ANY_LEFT: Final = (
    "SELECT EXISTS (SELECT FROM supervisor.jobs AS job, supervisor.control AS switches "  # noqa: S608 - constants
    "WHERE job.queue = ANY ($1) AND job.kind = ANY ($2) "
    f"AND (job.claimed_by IS NOT NULL OR (($3 OR job.losses = 0) AND {_ON}))) "
    "OR EXISTS (SELECT FROM supervisor.jobs_waiting AS job, supervisor.control AS switches "
    "WHERE job.reason IN ('retry', 'paused', 'limited') "
    f"AND job.queue = ANY ($1) AND job.kind = ANY ($2) AND ($3 OR job.losses = 0) AND {_ON})"
)


async def next_due(link: Link, *, within: float = USUAL) -> float | None:
    """Return the seconds until the next waiting job is due, negative for one that is; None if none has a time."""
    return cast("float | None", await link.fetchval(_NEXT_DUE, within=within))


async def anything_left(
    link: Link, queues: Sequence[str], kinds: Sequence[str], *, suspects: bool, within: float = USUAL
) -> bool:
    """Whether any job of these queues and kinds runs, may start now, or waits for another attempt or for a permit.

    `suspects`: count jobs that were lost with a worker before. Jobs that a switch has turned off, future and blocked
    ones do not count.
    """
    return bool(await link.fetchval(_ANY_LEFT, queues, kinds, suspects, within=within))


async def prune_workers(link: Link, keep_days: int, most: int, *, within: float = USUAL) -> int:
    """Delete up to `most` rows of workers that ended more than `keep_days` ago; returns how many."""
    return cast("int", await link.fetchval("SELECT supervisor.prune_workers($1, $2)", keep_days, most, within=within))
