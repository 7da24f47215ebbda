"""Says as an event what became of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from supervisor.jobs.events import (
    HandlerAbandoned,
    JobBlocked,
    JobCompleted,
    JobDiscarded,
    JobFailed,
    JobFenced,
    JobInterrupted,
    JobSnoozed,
    JobStarted,
    JobUnwritten,
)
from supervisor.jobs.outcomes import Action

if TYPE_CHECKING:
    from supervisor.jobs.events import JobEvent
    from supervisor.jobs.outcomes import Decision
    from supervisor.store.job_rows import ClaimedJob


def started(path: str, row: ClaimedJob) -> JobStarted:
    """The handler begins."""
    return JobStarted(path, *_who(row))


def completed(path: str, row: ClaimedJob, seconds: float) -> JobCompleted:
    """The handler has returned."""
    return JobCompleted(path, *_who(row), seconds)


def ended(path: str, row: ClaimedJob, decision: Decision, seconds: float) -> JobEvent:
    """The handler ended, `seconds` after the claim, and this was decided."""
    error = decision.error or ""
    match decision.action:
        case Action.COMPLETE:
            return completed(path, row, seconds)
        case Action.RETRY:
            return JobFailed(path, *_who(row), error, decision.delay, seconds)
        case Action.FAIL:
            return JobFailed(path, *_who(row), error, None, seconds)
        case Action.SNOOZE:
            return JobSnoozed(path, *_who(row), decision.delay)
        case Action.DISCARD:
            return JobDiscarded(path, *_who(row), decision.error)
        case Action.BLOCK:
            return JobBlocked(path, *_who(row), error)
        case Action.INTERRUPTED:
            return JobInterrupted(path, *_who(row))
        case _:
            assert_never(decision.action)


def fenced(path: str, row: ClaimedJob) -> JobFenced:
    """The database refused what the run wanted to write."""
    return JobFenced(path, *_who(row), row.lock_version)


def unwritten(path: str, row: ClaimedJob, error: Exception) -> JobUnwritten:
    """The database refuses how the run ended."""
    return JobUnwritten(path, *_who(row), str(error))


def abandoned(path: str, row: ClaimedJob, cancelled_for: str, seconds: float, stack: str) -> HandlerAbandoned:
    """The handler survived its cancel."""
    return HandlerAbandoned(path, *_who(row), cancelled_for, seconds, stack)


def _who(row: ClaimedJob) -> tuple[int, str, str, int, str | None]:
    return row.id, row.kind, row.queue, row.attempts + 1, row.tenant
