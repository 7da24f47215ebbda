"""Statements on queues: how much waits in each, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from supervisor.store.link import Link

_STATS: Final = (
    "SELECT queue, ready, running, delayed, retrying, blocked, suspects, oldest_ready_s, completed_1h, failed_1h "
    "FROM supervisor.queue_stats() ORDER BY queue"
)


class QueueStats(NamedTuple):
    """One queue: its live jobs by what they wait for, and what ended within the last hour.

    oldest_ready: seconds that the first claimable job has waited, None without one.
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


async def stats(link: Link, *, within: float = USUAL) -> list[QueueStats]:
    """Count the jobs of every queue that has any."""
    return [QueueStats(*row) for row in await link.fetch(_STATS, within=within)]
