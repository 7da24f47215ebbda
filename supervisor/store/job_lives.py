"""Reads what surrounds one job: how each of its lives ended, who runs it, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor.store.job_rows import JobStatus
    from supervisor.store.link import Link

_COLUMNS: Final = (
    "past.status, past.finished_at, past.attempts, past.interruptions, past.losses, past.lock_version, "
    "past.claimed_by, past.claimed_at, past.last_error, past.traceback"
)
# Two parts, since each has an index of its own.
_LIVES: Final = f"""
    SELECT {_COLUMNS} FROM supervisor.job_history AS past WHERE past.job_id = $1 AND past.status <> 'completed'
    UNION ALL
    SELECT {_COLUMNS} FROM supervisor.job_history AS past WHERE past.job_id = $1 AND past.status = 'completed'
    ORDER BY 2
"""  # noqa: S608 - constants
_PROGRESS: Final = "SELECT done, total, updated_at FROM supervisor.job_progress WHERE job_id = $1"
_WORKER: Final = """
    SELECT id, name, host, pid, status, version, last_heartbeat_at, lease_expires_at
    FROM supervisor.workers WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Life:
    """How a job ended; one that was retried afterwards has several lives. `claimed_at` is when its last run began."""

    status: JobStatus
    finished_at: datetime
    attempts: int
    interruptions: int
    losses: int
    lock_version: int
    claimed_by: int | None
    claimed_at: datetime | None
    last_error: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class ShownProgress:
    """How far a job said it was."""

    done: int
    total: int | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """The worker that runs a job, or ran it last."""

    id: int
    name: str
    host: str
    pid: int
    status: str
    version: str
    last_heartbeat_at: datetime
    lease_expires_at: datetime


async def lives(link: Link, job: int, *, within: float = USUAL) -> list[Life]:
    """List how a job ended, each time, as far as the history is kept."""
    return [Life(*row) for row in await link.fetch(_LIVES, job, within=within)]


async def progress(link: Link, job: int, *, within: float = USUAL) -> ShownProgress | None:
    """Return how far a job is; None if it never said."""
    row = await link.fetchrow(_PROGRESS, job, within=within)
    return None if row is None else ShownProgress(*row)


async def worker(link: Link, number: int, *, within: float = USUAL) -> WorkerRow | None:
    """Return a worker; None if it is forgotten."""
    row = await link.fetchrow(_WORKER, number, within=within)
    return None if row is None else WorkerRow(*row)
