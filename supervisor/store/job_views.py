"""Reads everything about one job, wherever it is in its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import USUAL, JobView

if TYPE_CHECKING:
    from supervisor.store.link import Link

_BEGINNING: Final = "job.kind, job.queue, job.service, job.tenant"
_MIDDLE: Final = "job.priority, job.run_at"
_END: Final = (
    "job.args::text, job.unique_key, job.attempts, job.max_attempts, job.interruptions, job.losses, job.timeout_s, "
    "job.trace_parent, job.last_error, job.traceback, job.lock_version, job.claimed_by, job.claimed_at, job.deadline_at"
)
# One statement, so one snapshot: a job that moves from table to table meanwhile is seen in exactly one of them. The
# history, which has no index that is quick, is read only if the job does not live.
_SHOW: Final = f"""
WITH live AS MATERIALIZED (
    SELECT job.id, {_BEGINNING},
           CASE WHEN job.claimed_by IS NOT NULL THEN 'running' WHEN job.attempts > 0 THEN 'retry' ELSE 'pending' END,
           NULL::text, {_MIDDLE}, NULL::timestamptz, job.created_at, NULL::timestamptz, {_END}
    FROM supervisor.jobs AS job WHERE job.id = $1
    UNION ALL
    SELECT job.id, {_BEGINNING},
           CASE WHEN job.reason = 'blocked' THEN 'blocked' WHEN job.reason = 'retry' OR job.attempts > 0 THEN 'retry'
                ELSE 'pending' END,
           job.reason, {_MIDDLE}, nullif(job.due_at, 'infinity'), job.created_at, NULL, {_END}
    FROM supervisor.jobs_waiting AS job WHERE job.id = $1
)
SELECT live.* FROM live
UNION ALL
SELECT job.job_id, {_BEGINNING}, job.status, NULL, {_MIDDLE}, NULL, job.created_at, job.finished_at, {_END}
FROM supervisor.newest_end($1) AS job WHERE NOT EXISTS (SELECT FROM live)
"""  # noqa: S608 - constants
_FIELDS: Final = tuple(JobView.__dataclass_fields__)


async def show(link: Link, job: int, *, within: float = USUAL) -> JobView | None:
    """Return what is known of a job, of its newest run if it is over; None if nobody knows it."""
    row = await link.fetchrow(_SHOW, job, within=within)
    return None if row is None else JobView(**dict(zip(_FIELDS, row, strict=True)))
