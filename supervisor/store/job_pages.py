"""Lists jobs page by page at a cost that does not grow with their number: each looks at a bounded piece of a table.

A piece may have nothing of what is wanted in it. Then the page is short, or empty, and still says where to go on. Live
jobs are read along their primary key; what ended badly along its own index; completed jobs from the last pages of their
days, since they lie there in the order in which they ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from supervisor.store.job_listing import ListedJob
from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from supervisor.store.job_rows import JobStatus
    from supervisor.store.link import Link

PIECE: Final = 1000
"""Rows of one table in one look."""
PAGES: Final = 64
"""Pages of the history of completed jobs in one look."""
LOOKING: Final = 0.02
"""Seconds after which no further look is taken for one page."""

LIVE: Final[frozenset[JobStatus]] = frozenset({"pending", "running", "retry", "blocked"})

_COLUMNS: Final = (
    "job.kind, job.queue, job.service, job.tenant, {status}, {reason}, job.priority, job.attempts, job.max_attempts, "
    "job.losses, job.created_at, {since}, {due}, job.claimed_by, left(job.last_error, 300)"
)
_NAMES: Final = (
    "id, kind, queue, service, tenant, status, reason, priority, attempts, max_attempts, losses, created_at, since, "
    "due_at, claimed_by, last_error"
)
_WANTED: Final = (
    "($3::text IS NULL OR job.queue = $3) AND ($4::text IS NULL OR job.kind = $4) "
    "AND ($5::text IS NULL OR job.tenant = $5) AND ($6::text[] IS NULL OR job.queue = ANY ($6)) "
    "AND ($7::text[] IS NULL OR job.tenant = ANY ($7))"
)
_HERE: Final = _COLUMNS.format(
    status="CASE WHEN job.claimed_by IS NOT NULL THEN 'running' WHEN job.attempts > 0 THEN 'retry' ELSE 'pending' END",
    reason="NULL::text",
    since="coalesce(job.claimed_at, job.created_at)",
    due="NULL::timestamptz",
)
_THERE: Final = _COLUMNS.format(
    status="CASE WHEN job.reason = 'blocked' THEN 'blocked' WHEN job.reason = 'retry' OR job.attempts > 0 "
    "THEN 'retry' ELSE 'pending' END",
    reason="job.reason",
    since="job.created_at",
    due="nullif(job.due_at, 'infinity')",
)
_PAST: Final = _COLUMNS.format(
    status="job.status", reason="NULL::text", since="job.finished_at", due="NULL::timestamptz"
)
# The pieces of both tables end at different ids; what both have seen reaches to `edge`, NULL: to the end.
_LIVE: Final = """
    WITH here AS MATERIALIZED (
        SELECT job.id, {here} FROM supervisor.jobs AS job WHERE job.id {beyond} $1 ORDER BY job.id {order} LIMIT $2
    ), there AS MATERIALIZED (
        SELECT job.id, {there} FROM supervisor.jobs_waiting AS job
        WHERE job.id {beyond} $1 ORDER BY job.id {order} LIMIT $2
    ), seen AS (
        SELECT {nearest}((SELECT {last}(here.id) FROM here HAVING count(*) = $2),
                         (SELECT {last}(there.id) FROM there HAVING count(*) = $2)) AS edge
    )
    SELECT seen.edge, job.*
    FROM seen LEFT JOIN LATERAL (
        SELECT job.* FROM (SELECT * FROM here UNION ALL SELECT * FROM there) AS job ({names})
        WHERE (seen.edge IS NULL OR job.id {within} seen.edge) AND job.status = ANY ($8) AND {wanted}
        ORDER BY job.id {order} LIMIT $9
    ) AS job ON true
    ORDER BY job.id {order}
"""
_NEWEST: Final = _LIVE.format(
    here=_HERE,
    there=_THERE,
    names=_NAMES,
    wanted=_WANTED,
    beyond="<",
    within=">=",
    order="DESC",
    last="min",
    nearest="greatest",
)
_OLDEST: Final = _LIVE.format(
    here=_HERE,
    there=_THERE,
    names=_NAMES,
    wanted=_WANTED,
    beyond=">",
    within="<=",
    order="ASC",
    last="max",
    nearest="least",
)
_ENDED: Final = f"""
    WITH piece AS MATERIALIZED (
        SELECT job.job_id AS id, {_PAST} FROM supervisor.job_history AS job
        WHERE job.status = $8 AND job.status <> 'completed' AND (job.finished_at, job.job_id) < ($1, $9::bigint)
        ORDER BY job.finished_at DESC, job.job_id DESC LIMIT $2
    ), named AS (SELECT * FROM piece AS job ({_NAMES})), edge AS (
        SELECT named.since AS at, named.id FROM named ORDER BY named.since, named.id LIMIT 1
    ), size AS (SELECT count(*) AS rows FROM named)
    SELECT size.rows, edge.at, edge.id, job.*
    FROM size LEFT JOIN edge ON true LEFT JOIN LATERAL (
        SELECT job.* FROM named AS job WHERE {_WANTED} ORDER BY job.since DESC, job.id DESC LIMIT $10
    ) AS job ON true
    ORDER BY job.since DESC, job.id DESC
"""  # noqa: S608 - constants
_COMPLETED: Final = f"""
    SELECT job.job_id, {_PAST} FROM supervisor.job_history AS job
    WHERE job.status = 'completed' AND job.finished_at >= $1 AND job.finished_at < $2 AND {_WANTED}
      AND job.ctid >= format('(%s,0)', $8::bigint)::tid AND job.ctid < format('(%s,0)', $9::bigint)::tid
      AND (job.finished_at, job.job_id) < ($10, $11::bigint)
    ORDER BY job.finished_at DESC, job.job_id DESC LIMIT $12
"""  # noqa: S608
_DAYS: Final = """
    SELECT to_date(right(child.relname, 8), 'YYYYMMDD'),
           pg_relation_size(child.oid) / current_setting('block_size')::bigint
    FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'supervisor.job_history'::regclass AND child.relname ~ '^job_history_[0-9]{8}$'
      AND ($1::date IS NULL OR to_date(right(child.relname, 8), 'YYYYMMDD') <= $1)
    ORDER BY 1 DESC
"""
_FIRST_ID: Final = 2**63 - 1
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFilter:
    """Which jobs are wanted; None means all. `queues` and `tenants` are those that the caller may see."""

    queue: str | None = None
    kind: str | None = None
    tenant: str | None = None
    queues: Collection[str] | None = None
    tenants: Collection[str] | None = None

    @property
    def arguments(self) -> tuple[object, ...]:
        """What the statements take, from $3 on."""
        allowed = [None if names is None else sorted(names) for names in (self.queues, self.tenants)]
        return (self.queue, self.kind, self.tenant, *allowed)


class Ended(NamedTuple):
    """A place in the list of what ended: the job that was listed last."""

    at: datetime
    id: int


class InDay(NamedTuple):
    """A place among the completed jobs: a day, the page of its partition to look below, and the job listed last."""

    day: date
    below: int
    at: datetime
    id: int


class LivePage(NamedTuple):
    """Live jobs, and the id to go on from; None: these were the last."""

    jobs: list[ListedJob]
    go_on: int | None


class EndedPage(NamedTuple):
    """Jobs that ended, the latest first, and where to go on."""

    jobs: list[ListedJob]
    go_on: Ended | None


class CompletedPage(NamedTuple):
    """Jobs that were completed, nearly the latest first, and where to go on."""

    jobs: list[ListedJob]
    go_on: InDay | None


async def live(  # noqa: PLR0913 - most by keyword
    link: Link,
    wanted: PageFilter,
    statuses: Collection[JobStatus],
    most: int,
    *,
    place: int | None = None,
    oldest_first: bool = False,
    within: float = USUAL,
) -> LivePage:
    """List live jobs in the order of their ids, the newest first unless `oldest_first`, from behind `place`."""
    found: list[ListedJob] = []
    sql = _OLDEST if oldest_first else _NEWEST
    edge = place if place is not None else 0 if oldest_first else _FIRST_ID
    ends = time.monotonic() + LOOKING
    while True:
        left = most - len(found)
        rows = await link.fetch(sql, edge, PIECE, *wanted.arguments, sorted(statuses), left, within=within)
        jobs = [ListedJob(*row[1:]) for row in map(tuple, rows) if row[1] is not None]
        found += jobs
        if len(jobs) == left:
            return LivePage(found, found[-1].id)
        if rows[0][0] is None:
            return LivePage(found, None)
        edge = cast("int", rows[0][0])
        if time.monotonic() > ends:
            return LivePage(found, edge)


async def ended(  # noqa: PLR0913 - most by keyword
    link: Link, wanted: PageFilter, status: JobStatus, most: int, *, place: Ended | None = None, within: float = USUAL
) -> EndedPage:
    """List jobs that ended in another way than completed, from behind `place`."""
    found: list[ListedJob] = []
    edge = place or Ended(_NEVER, _FIRST_ID)
    ends = time.monotonic() + LOOKING
    while True:
        left = most - len(found)
        rows = await link.fetch(_ENDED, edge.at, PIECE, *wanted.arguments, status, edge.id, left, within=within)
        jobs = [ListedJob(*row[3:]) for row in map(tuple, rows) if row[3] is not None]
        found += jobs
        if len(jobs) == left:
            return EndedPage(found, Ended(found[-1].since, found[-1].id))
        if rows[0][0] < PIECE:
            return EndedPage(found, None)
        edge = Ended(rows[0][1], rows[0][2])
        if time.monotonic() > ends:
            return EndedPage(found, edge)


async def completed(
    link: Link, wanted: PageFilter, most: int, *, place: InDay | None = None, within: float = USUAL
) -> CompletedPage:
    """List completed jobs, from behind `place`: day by day, and in a day from its last pages."""
    found: list[ListedJob] = []
    ends = time.monotonic() + LOOKING
    days: Sequence[tuple[date, int]] = [
        (row[0], row[1]) for row in await link.fetch(_DAYS, None if place is None else place.day, within=within)
    ]
    for number, (day, size) in enumerate(days):
        here = place if place is not None and place.day == day else InDay(day, size, _NEVER, _FIRST_ID)
        while here.below > 0:
            left = most - len(found)
            jobs = await _completed_in(link, wanted, here, left, within)
            found += jobs
            if len(jobs) == left:
                return CompletedPage(found, here._replace(at=jobs[-1].since, id=jobs[-1].id))
            here = InDay(day, max(0, here.below - PAGES), _NEVER, _FIRST_ID)
            if time.monotonic() > ends:
                is_last = here.below == 0 and number == len(days) - 1
                return CompletedPage(found, None if is_last else here)
    return CompletedPage(found, None)


async def _completed_in(link: Link, wanted: PageFilter, place: InDay, most: int, within: float) -> list[ListedJob]:
    """List what is in the pages below a place."""
    begins = datetime(place.day.year, place.day.month, place.day.day, tzinfo=UTC)
    rows = await link.fetch(
        _COMPLETED,
        begins,
        begins + timedelta(days=1),
        *wanted.arguments,
        max(0, place.below - PAGES),
        place.below,
        place.at,
        place.id,
        most,
        within=within,
    )
    return [ListedJob(*row) for row in rows]
