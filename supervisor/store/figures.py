"""What was measured of queues, kinds and days, and when: cheap to read, however many jobs there are.

One host at a time measures (see `survey`); everything that shows numbers reads what it found, with its age. `age` is
in seconds. `sampled` is the part that was read: 1.0 means counted, below that told from so much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime

    from supervisor.store.link import Link

Part: TypeAlias = Literal["queues", "kinds", "fleet", "limits", "days"]
"""What is measured together."""

PARTS: Final[tuple[Part, ...]] = get_args(Part)
LONG: Final = 60.0
"""Seconds that one measurement may take; it is bounded to far less."""
STALE: Final = 120.0
"""Seconds after which figures are old: nobody measures them any more, or it takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """One queue. `depth`: ready, suspects, paused and limited together. oldest_ready: seconds, None without a job.

    max_depth: what was set, None without. delayed: for a time that is to come.
    """

    queue: str
    ready: int
    running: int
    delayed: int
    retrying: int
    paused: int
    limited: int
    blocked: int
    suspects: int
    depth: int
    max_depth: int | None
    oldest_ready: float | None
    completed_1h: int
    failed_1h: int
    sampled: float
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """The runs of one kind within a day. p50, p95: seconds from claim to end, None if none was completed.

    runs: how many runs these were told from.
    """

    kind: str
    p50: float | None
    p95: float | None
    runs: int
    failed_24h: int
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """What ended on one day (of UTC). `success_rate`: completed of completed, failed and quarantined; None of none."""

    day: date
    completed: int
    failed: int
    quarantined: int
    cancelled: int
    discarded: int
    p50: float | None
    p95: float | None
    sampled: float
    age: float

    @property
    def success_rate(self) -> float | None:
        """The completed part of what was to be completed."""
        ended = self.completed + self.failed + self.quarantined
        return self.completed / ended if ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """Failures for one reason: the name of the error, never its text. `last_job` is an example."""

    kind: str
    reason: str
    count: int
    last_job: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well the last days went, the oldest day first, and why jobs failed, the most frequent reason first."""

    days: tuple[DayFigures, ...]
    reasons: tuple[FailureReason, ...]

    @property
    def success_rate(self) -> float | None:
        """Over all days; None if nothing ended."""
        good = sum(day.completed for day in self.days)
        ended = good + sum(day.failed + day.quarantined for day in self.days)
        return good / ended if ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowJob:
    """A job that runs for much longer than its kind usually does. expected, running: seconds. worker: its id."""

    id: int
    kind: str
    queue: str
    worker: int
    since: datetime
    running: float
    expected: float


def full(queues: Iterable[QueueFigures]) -> dict[str, tuple[int, int]]:
    """Return the depth of each queue that takes no more, and the most that it takes."""
    return {
        each.queue: (each.depth, each.max_depth)
        for each in queues
        if each.max_depth is not None and each.depth >= each.max_depth
    }


async def survey(link: Link, part: Part, every: float, *, within: float = LONG) -> bool:
    """Measure one part, unless it was measured less than `every` seconds ago, or is being measured.

    A part that is dear is measured more seldom, so that it takes at most a fiftieth of the time; with 0 seconds it is
    measured anyhow. Tells whether it was.
    """
    return bool(await link.fetchval("SELECT supervisor.survey($1, $2)", part, float(every), within=within))


async def queues(link: Link, *, within: float = USUAL) -> list[QueueFigures]:
    """Return the figures of every queue that is known; none before the first measurement."""
    return [QueueFigures(**dict(row)) for row in await link.fetch(_QUEUES, within=within)]


async def kinds(link: Link, *, within: float = USUAL) -> list[KindFigures]:
    """Return the figures of every kind that has run."""
    return [KindFigures(**dict(row)) for row in await link.fetch(_KINDS, within=within)]


async def fleet(link: Link, *, within: float = USUAL) -> dict[tuple[str, str], float]:
    """Return the numbers of the whole fleet by name and label, as ("workers", "RUNNING"); see `docs/metrics.md`."""
    rows = await link.fetch("SELECT name, label, value FROM supervisor.fleet_figures", within=within)
    return {(row[0], row[1]): row[2] for row in rows}


async def database_facts(link: Link, *, within: float = USUAL) -> tuple[float, float]:
    """Look now how old the oldest transaction is that keeps dead rows, in seconds, and how many dead rows there are."""
    sql = "SELECT oldest_snapshot_s, dead_rows::float8 FROM supervisor.database_facts()"
    (row,) = await link.fetch(sql, within=within)
    return row[0], row[1]


async def ages(link: Link, *, within: float = USUAL) -> dict[str, float]:
    """Return how many seconds ago each part was measured."""
    return {row[0]: row[1] for row in await link.fetch(_AGES, within=within)}


async def reliability(link: Link, days: int, *, within: float = USUAL) -> Reliability:
    """Return the figures of the last `days` days, with today, and up to a hundred reasons of failures."""
    rows = await link.fetch(_DAYS, days, within=within)
    reasons = await link.fetch(_REASONS, days, within=within)
    return Reliability(
        tuple(DayFigures(**dict(row)) for row in rows), tuple(FailureReason(**dict(row)) for row in reasons)
    )


async def slow_jobs(link: Link, most: int = 100, *, within: float = USUAL) -> list[SlowJob]:
    """List jobs that were found slow and still run, the slowest first."""
    return [SlowJob(**dict(row)) for row in await link.fetch("SELECT * FROM supervisor.slow($1)", most, within=within)]


async def escalate(link: Link, most: int, *, within: float = LONG) -> dict[str, int]:
    """Raise up to `most` jobs that have waited for too long by a step; returns how many of each queue."""
    return {row[0]: row[1] for row in await link.fetch(_ESCALATE, most, within=within)}


async def note_slow(link: Link, jobs: list[tuple[int, int, float]], *, within: float = USUAL) -> int:
    """Put down running jobs as slow: id, lock_version and the seconds that were expected; returns how many are new."""
    if not jobs:
        return 0
    columns = [list(column) for column in zip(*jobs, strict=True)]
    return cast("int", await link.fetchval("SELECT supervisor.note_slow($1, $2, $3)", *columns, within=within))


_QUEUES: Final = """
    SELECT queue, ready, running, delayed, retrying, paused, limited, blocked, suspects, depth, max_depth,
           oldest_ready_s AS oldest_ready, completed_1h, failed_1h, sampled, age_s AS age
    FROM supervisor.queue_health ORDER BY queue
"""
_ESCALATE: Final = "SELECT queue, raised FROM supervisor.escalate($1)"
_KINDS: Final = """
    SELECT kind, p50_s AS p50, p95_s AS p95, runs, failed_24h,
           extract(epoch FROM clock_timestamp() - measured_at)::float8 AS age
    FROM supervisor.kind_figures ORDER BY kind
"""
_AGES: Final = """
    SELECT part, extract(epoch FROM clock_timestamp() - measured_at)::float8
    FROM supervisor.surveys WHERE measured_at > '-infinity'
"""
_DAYS: Final = """
    SELECT day, completed, failed, quarantined, cancelled, discarded, p50_s AS p50, p95_s AS p95, sampled,
           extract(epoch FROM clock_timestamp() - measured_at)::float8 AS age
    FROM supervisor.day_figures
    WHERE day > (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::integer ORDER BY day
"""
_REASONS: Final = """
    SELECT kind, reason, sum(count)::bigint AS count, max(last_job) AS last_job
    FROM supervisor.failure_figures
    WHERE day > (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::integer
    GROUP BY kind, reason ORDER BY sum(count) DESC, kind, reason LIMIT 100
"""
