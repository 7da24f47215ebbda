"""Statements on queues: how much waits in each, and for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from supervisor.store import figures
from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.figures import QueueFigures
    from supervisor.store.link import Link

_STATS: Final = (
    "SELECT queue, ready, running, delayed, retrying, blocked, suspects, oldest_ready_s, completed_1h, failed_1h "
    "FROM supervisor.queue_stats() ORDER BY queue"
)


class QueueStats(NamedTuple):
    """One queue: its live jobs by what they wait for, and what ended within the last hour.

    delayed: for a time that is to come, or until a switch or a limit lets them. oldest_ready: seconds that the first
    claimable job has waited, None without one.
    """

    queue: str
    ready: int
    running: int
    delayed: int
    retrying: int
    blocked: int
    suspects: int
    oldest_ready: float | None
    completed_1h: int
    failed_1h: int


@dataclass(frozen=True, slots=True)
class KnownStats:
    """What is known of all queues. age: seconds since it was measured, None if it was counted for this.

    sampled: the part of the jobs that was read where it was least; 1.0 means counted.
    """

    queues: Sequence[QueueStats]
    age: float | None = None
    sampled: float = 1.0


async def stats(link: Link, *, within: float = USUAL) -> list[QueueStats]:
    """Count the jobs of every queue that has any."""
    return [QueueStats(*row) for row in await link.fetch(_STATS, within=within)]


async def known_stats(link: Link, *, fresh: bool = False, within: float = USUAL) -> KnownStats:
    """Return what was measured last; if that is old, was never done, or with `fresh`, count now.

    Counting reads every live job, so it takes the longer the more there are. `within` is for each statement.
    """
    age = None if fresh else (await figures.ages(link, within=within)).get("queues")
    if age is None or age > figures.STALE:
        return KnownStats(await stats(link, within=within))
    rows = await figures.queues(link, within=within)
    return KnownStats(list(map(stats_of, rows)), max(age, 0.0), min((row.sampled for row in rows), default=1.0))


def stats_of(row: QueueFigures) -> QueueStats:
    """Return the same of a queue that was measured."""
    return QueueStats(
        row.queue,
        row.ready,
        row.running,
        row.delayed + row.paused + row.limited,
        row.retrying,
        row.blocked,
        row.suspects,
        row.oldest_ready,
        row.completed_1h,
        row.failed_1h,
    )
