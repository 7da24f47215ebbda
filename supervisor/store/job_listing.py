"""Lists jobs for people: the newest of each state, found without reading a long backlog or a long history.

What still runs or waits is read along the primary key. What ended badly has an index of its own. Completed jobs have
none, which would cost every finish; but they lie in their day's partition in the order in which they ended, so that
the last pages hold the newest: ever longer ranges of pages are read, from the end, until there are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from supervisor.store.job_rows import FINAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from supervisor.store.job_rows import JobStatus
    from supervisor.store.link import Link

LONG: Final = 30.0
"""Seconds that one of these statements may take: with a rare kind they may have to read much."""

_FIRST_PAGES: Final = 128
_GROWTH: Final = 4
_UNUSUAL: Final = FINAL - {"completed"}
_PAGE: Final = 1000

_COLUMNS: Final = (
    "job.kind, job.queue, job.service, job.tenant, {status} AS status, {reason} AS reason, job.priority, job.attempts, "
    "job.max_attempts, job.losses, job.created_at, {since} AS since, {due} AS due_at, job.claimed_by, "
    "left(job.last_error, 300) AS last_error"
)
_WANTED: Final = (
    "($1::text IS NULL OR job.queue = $1) AND ($2::text IS NULL OR job.kind = $2) "
    "AND ($3::text IS NULL OR job.tenant = $3)"
)


def _columns(status: str, since: str, *, reason: str = "NULL::text", due: str = "NULL::timestamptz") -> str:
    return _COLUMNS.format(status=status, since=since, reason=reason, due=due)


_READY: Final = "CASE WHEN job.attempts > 0 THEN 'retry' ELSE 'pending' END"
_PARKED: Final = (
    "CASE WHEN job.reason = 'blocked' THEN 'blocked' WHEN job.reason = 'retry' OR job.attempts > 0 THEN 'retry' "
    "ELSE 'pending' END"
)
_RUNNING: Final = f"""
    SELECT job.id, {_columns("'running'", "job.claimed_at")} FROM supervisor.jobs AS job
    WHERE job.claimed_by IS NOT NULL AND {_WANTED} AND job.claimed_at >= $4 ORDER BY job.claimed_at DESC LIMIT $5
"""  # noqa: S608 - this and those below are made of constants
_WAITING: Final = f"""
    (SELECT job.id, {_columns(_READY, "job.created_at")} FROM supervisor.jobs AS job
     WHERE job.claimed_by IS NULL AND {_WANTED} AND job.created_at >= $4 AND {_READY} = ANY ($6)
     ORDER BY job.id DESC LIMIT $5)
    UNION ALL
    (SELECT job.id, {_columns(_PARKED, "job.created_at", reason="job.reason", due="nullif(job.due_at, 'infinity')")}
     FROM supervisor.jobs_waiting AS job
     WHERE {_WANTED} AND job.created_at >= $4 AND {_PARKED} = ANY ($6)
     ORDER BY job.id DESC LIMIT $5)
"""  # noqa: S608
_ENDED: Final = f"""
    SELECT job.job_id AS id, {_columns("job.status", "job.finished_at")} FROM supervisor.job_history AS job
    WHERE job.status = $6 AND job.status <> 'completed' AND {_WANTED} AND job.finished_at >= $4
    ORDER BY job.finished_at DESC LIMIT $5
"""  # noqa: S608
_COMPLETED: Final = f"""
    SELECT job.job_id AS id, {_columns("job.status", "job.finished_at")} FROM supervisor.job_history AS job
    WHERE job.status = 'completed' AND {_WANTED}
      AND job.finished_at >= $4 AND job.finished_at >= $6 AND job.finished_at < $7
      AND job.ctid >= format('(%s,0)', $8::bigint)::tid AND job.ctid < format('(%s,0)', $9::bigint)::tid
    ORDER BY job.finished_at DESC LIMIT $5
"""  # noqa: S608
# The default partition, where no partition was made in time, has no day of its own.
_UNSORTED: Final = f"""
    SELECT job.job_id AS id, {_columns("job.status", "job.finished_at")} FROM supervisor.job_history_rest AS job
    WHERE job.status = 'completed' AND {_WANTED} AND job.finished_at >= $4 ORDER BY job.finished_at DESC LIMIT $5
"""  # noqa: S608
_DAYS: Final = """
    SELECT to_date(right(child.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC',
           pg_relation_size(child.oid) / current_setting('block_size')::bigint
    FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'supervisor.job_history'::regclass AND child.relname ~ '^job_history_[0-9]{8}$'
    ORDER BY 1 DESC
"""
_FAILED_IDS: Final = """
    SELECT job.finished_at, job.job_id FROM supervisor.job_history AS job
    WHERE job.status = $1 AND job.status <> 'completed' AND ($2::text IS NULL OR job.kind = $2)
      AND (job.finished_at, job.job_id) > ($3, $4) AND job.finished_at <= $5
    ORDER BY job.finished_at, job.job_id LIMIT $6
"""
_LONG_AGO: Final = "1970-01-01 00:00+00"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are wanted; None means all. `since`: running and ended then or later, waiting and created so."""

    statuses: frozenset[JobStatus] | None = None
    queue: str | None = None
    kind: str | None = None
    tenant: str | None = None
    since: datetime | None = None

    def wants(self, *statuses: JobStatus) -> list[JobStatus]:
        """Return those of these states that are wanted."""
        return [status for status in statuses if self.statuses is None or status in self.statuses]


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One line about a job. `since`: when it was created, or started if it runs, or ended.

    `due_at` is when a job that waits is due, None if nobody knows; `reason` why it waits.
    """

    id: int
    kind: str
    queue: str
    service: str
    tenant: str | None
    status: JobStatus
    reason: str | None
    priority: int
    attempts: int
    max_attempts: int
    losses: int
    created_at: datetime
    since: datetime
    due_at: datetime | None
    claimed_by: int | None
    last_error: str | None


async def now(link: Link, *, within: float = LONG) -> datetime:
    """Return the time of the database, which is that of all jobs."""
    return cast("datetime", await link.fetchval("SELECT clock_timestamp()", within=within))


async def listed(link: Link, wanted: JobFilter, most: int, *, within: float = LONG) -> list[ListedJob]:
    """List up to `most` jobs, those first to which something happened last. `within` is for each statement."""
    since = wanted.since or datetime.fromisoformat(_LONG_AGO)
    usual = (wanted.queue, wanted.kind, wanted.tenant, since, most)
    found: list[ListedJob] = []
    if wanted.wants("running"):
        found += await _jobs(link, _RUNNING, *usual, within=within)
    if waiting := wanted.wants("pending", "retry", "blocked"):
        found += await _jobs(link, _WAITING, *usual, waiting, within=within)
    for status in wanted.wants(*sorted(_UNUSUAL)):
        found += await _jobs(link, _ENDED, *usual, status, within=within)
    if wanted.wants("completed"):
        found += await _completed(link, usual, within)
    return sorted(found, key=lambda job: (job.since, job.id), reverse=True)[:most]


async def failed_ids(
    link: Link, *, kind: str | None, since: datetime | None, until: datetime, within: float = LONG
) -> AsyncIterator[list[int]]:
    """Yield, in pages, the ids of the jobs that failed in a time, in the order of their ends; an id may come twice."""
    place: tuple[datetime, int] = (since or datetime.fromisoformat(_LONG_AGO), 0)
    while rows := await link.fetch(_FAILED_IDS, "failed", kind, *place, until, _PAGE, within=within):
        yield [row[1] for row in rows]
        place = (rows[-1][0], rows[-1][1])


async def _completed(link: Link, usual: Sequence[Any], within: float) -> list[ListedJob]:
    since, most = usual[3], usual[4]
    found = await _jobs(link, _UNSORTED, *usual, within=within)
    enough = len(found) + most
    for day, size in await link.fetch(_DAYS, within=within):
        end, pages = size, _FIRST_PAGES
        while end > 0 and len(found) < enough and day + timedelta(days=1) > since:
            start = max(0, end - pages)
            rows = await _jobs(link, _COMPLETED, *usual, day, day + timedelta(days=1), start, end, within=within)
            found += rows
            end, pages = start, pages * _GROWTH
    return found


async def _jobs(link: Link, sql: str, *args: object, within: float) -> list[ListedJob]:
    return [ListedJob(*row) for row in await link.fetch(sql, *args, within=within)]
