"""What monitoring answers, made of what was measured and judged."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from supervisor.web.advice import advice_on
from supervisor.web.health import COMPONENTS, Level, worst
from supervisor.web.structs import Answer, Count, Moment
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.figures import DayFigures, QueueFigures, Reliability, SlowJob
    from supervisor.web.health import Finding, Judgement
    from supervisor.web.live import LiveBoard


class Found(Answer, frozen=True, kw_only=True):
    """One thing that is not well."""

    component: str
    level: Level
    subject: str | None
    problem: str
    advice: str


class Component(Answer, frozen=True, kw_only=True):
    """One part of the whole."""

    status: Level
    findings: list[Found]


class Health(Answer, frozen=True, kw_only=True):
    """The whole, and its parts: database, queue, workers, and the process that answers."""

    status: Level
    components: dict[str, Component]
    advice: list[str]
    version: str
    uptime: float
    timestamp: Moment


class Queue(Answer, frozen=True, kw_only=True):
    """One queue. `age`: seconds since it was measured; `sampled`: the part that was read, 1 means counted."""

    queue: str
    ready: Count
    running: Count
    delayed: Count
    retrying: Count
    paused: Count
    limited: Count
    blocked: Count
    suspects: Count
    depth: Count
    max_depth: int | None
    oldest_ready: float | None
    completed_1h: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="completedLastHour")
    failed_1h: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="failedLastHour")
    sampled: float
    age: float


class QueueHealth(Answer, frozen=True, kw_only=True):
    """How well the queues are."""

    status: Level
    findings: list[Found]
    queues: list[Queue]
    timestamp: Moment


class Stats(Answer, frozen=True, kw_only=True):
    """All queues together. `waiting` could run if there were room; `delayed` is for a time to come, or another attempt.

    `completed` and `failed` are of the days that are kept, up to 14; `age`: seconds since the oldest measurement.
    """

    waiting: Count
    active: Count
    completed: Count
    failed: Count
    delayed: Count
    paused: Count
    limited: Count
    blocked: Count
    completed_last_hour: Count
    failed_last_hour: Count
    age: float | None
    queues: list[Queue]
    timestamp: Moment


class Day(Answer, frozen=True, kw_only=True):
    """What ended on one day of UTC. p50, p95: seconds from claim to end."""

    day: date
    completed: Count
    failed: Count
    quarantined: Count
    cancelled: Count
    discarded: Count
    success_rate: float | None
    p50: float | None
    p95: float | None
    sampled: float


class Reason(Answer, frozen=True, kw_only=True):
    """Failures for one reason; `lastJob` is an example."""

    kind: str
    reason: str
    count: Count
    last_job: int


class ReliabilityReport(Answer, frozen=True, kw_only=True):
    """How well the last days went, why jobs failed, and what to do about it."""

    days: int
    success_rate: float | None
    completed: Count
    failed: Count
    by_day: list[Day]
    reasons: list[Reason]
    recommendations: list[str]
    timestamp: Moment


class Slow(Answer, frozen=True, kw_only=True):
    """A job that runs for much longer than its kind usually does, in seconds."""

    id: int
    kind: str
    queue: str
    worker: int
    since: datetime
    running: float
    expected: float


def health_of(board: LiveBoard, found: Judgement) -> Health:
    """Describe what was judged."""
    parts = {name: [one for one in found.findings if one.component == name] for name in COMPONENTS}
    return Health(
        status=found.level,
        components={name: Component(status=worst(some), findings=found_of(some)) for name, some in parts.items()},
        advice=list(dict.fromkeys(one.advice for one in found.findings)),
        version=board.version,
        uptime=round(max(0.0, now().timestamp() - board.started_at), 1),
        timestamp=now(),
    )


def stats_of(queues: Sequence[QueueFigures], past: Reliability) -> Stats:
    """Add all queues up."""

    def total(name: str) -> int:
        return sum(getattr(row, name) for row in queues)

    return Stats(
        waiting=total("ready") + total("suspects"),
        active=total("running"),
        completed=sum(day.completed for day in past.days),
        failed=sum(day.failed for day in past.days),
        delayed=total("delayed") + total("retrying"),
        paused=total("paused"),
        limited=total("limited"),
        blocked=total("blocked"),
        completed_last_hour=total("completed_1h"),
        failed_last_hour=total("failed_1h"),
        age=max((row.age for row in queues), default=None),
        queues=[queue_of(row) for row in queues],
        timestamp=now(),
    )


def queue_of(row: QueueFigures) -> Queue:
    """Describe one queue."""
    return Queue(**{name: getattr(row, name) for name in Queue.__struct_fields__})


def report_of(found: Reliability, days: int) -> ReliabilityReport:
    """Describe how the last days went."""
    return ReliabilityReport(
        days=days,
        success_rate=found.success_rate,
        completed=sum(day.completed for day in found.days),
        failed=sum(day.failed for day in found.days),
        by_day=[_day(day) for day in found.days],
        reasons=[msgspec.convert(one, Reason, from_attributes=True) for one in found.reasons],
        recommendations=list(advice_on(found)),
        timestamp=now(),
    )


def _day(day: DayFigures) -> Day:
    return Day(**{name: getattr(day, name) for name in Day.__struct_fields__})


def found_of(findings: Sequence[Finding]) -> list[Found]:
    """Describe what is not well."""
    return [msgspec.convert(one, Found, from_attributes=True) for one in findings]


def slow_of(jobs: Sequence[SlowJob]) -> list[Slow]:
    """Describe jobs that run for too long."""
    return [msgspec.convert(job, Slow, from_attributes=True) for job in jobs]
