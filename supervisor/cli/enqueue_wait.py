"""Waits for the end of a job, and says on the way what happens to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from supervisor.cli.times import short

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.store.job_rows import JobView

FIRST: Final = 0.05
LONGEST: Final = 1.0
"""Seconds between two looks; they grow, so that a short job is answered at once and a long one costs little."""


async def ended(
    look: Callable[[], Awaitable[JobView | None]], within: float | None, say: Callable[[str], object]
) -> JobView | None:
    """Look until the job is over, or `within` seconds have passed; return it as it was seen last."""
    loop = asyncio.get_running_loop()
    give_up = None if within is None else loop.time() + within
    pause, before, job = FIRST, "", None
    while True:
        job = await look()
        if job is None or job.is_final:
            return job
        now = _state_of(job)
        if now != before:
            say(now)
        before = now
        if give_up is not None:
            left = give_up - loop.time()
            if left <= 0:
                return job
            pause = min(pause, left)
        await asyncio.sleep(pause)
        pause = min(LONGEST, pause * 1.5)


def _state_of(job: JobView) -> str:
    """Describe a live job in a line that changes only when something has happened."""
    error = f": {job.last_error}" if job.last_error else ""
    match job.status:
        case "retry":
            wait = "" if job.due_at is None else f", again at {job.due_at:%H:%M:%S %Z}"
            return f"job {job.id}: attempt {job.attempts} of {job.max_attempts} failed{error}{wait}"
        case "blocked":
            return f"job {job.id}: waits for a person{error}; see: python -m supervisor jobs show {job.id}"
        case _:
            return f"job {job.id}: {job.status}"


def final_line(job: JobView) -> str:
    """Say how a job ended."""
    took = "" if job.finished_at is None else f" after {short((job.finished_at - job.created_at).total_seconds())}"
    error = f": {job.last_error}" if job.last_error and job.status != "completed" else ""
    return f"job {job.id}: {job.status}{took}{error}"
