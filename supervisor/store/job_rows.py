"""The rows that go between the runtime and the tables of jobs, with types."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

USUAL: Final = 10.0
"""Seconds that one statement may take if its caller does not say otherwise."""

JobStatus: TypeAlias = Literal[
    "pending", "running", "retry", "blocked", "completed", "failed", "cancelled", "quarantined", "discarded"
]
"""The state of a job: the first four are live, the others final."""

FINAL: Final[frozenset[JobStatus]] = frozenset({"completed", "failed", "cancelled", "quarantined", "discarded"})
"""The states in which a job stays, unless somebody retries it."""

EndStatus: TypeAlias = Literal["completed", "failed", "discarded", "cancelled", "quarantined"]
HandBackReason: TypeAlias = Literal["retry", "snoozed", "interrupted", "blocked"]


def _column(place: int) -> Any:  # noqa: ANN401 - each use below says its type
    return property(itemgetter(place))


class Cursor(NamedTuple):
    """The place of a job in its queue: the next claim looks only behind it."""

    priority: int
    run_at: datetime
    id: int

    @classmethod
    def after(cls, jobs: Iterable[ClaimedJob]) -> Cursor:
        """Return the cursor behind all of these jobs, of which there must be one."""
        return cls(*max(job[12:14] + job[0:1] for job in jobs))


class ClaimedJob(asyncpg.Record):
    """A job as a claim gives it; the columns are read from the row each time, which costs less than a copy.

    args: JSON. timeout: seconds. deadline_at: by the clock of the database. lock_version: the fence of this run.
    """

    __slots__ = ()

    id: int = _column(0)
    lock_version: int = _column(1)
    kind: str = _column(2)
    args: str = _column(3)
    attempts: int = _column(4)
    max_attempts: int = _column(5)
    losses: int = _column(6)
    interruptions: int = _column(7)
    tenant: str | None = _column(8)
    deadline_at: datetime = _column(9)
    timeout: float = _column(10)
    trace_parent: str | None = _column(11)
    priority: int = _column(12)
    run_at: datetime = _column(13)
    service: str = _column(14)
    queue: str = _column(15)


CLAIMED_COLUMNS: Final = (
    "id, lock_version, kind, args, attempts, max_attempts, losses, interruptions, tenant, deadline_at, timeout_s, "
    "trace_parent, priority, run_at, service, queue"
)
"""In the order of the places in ClaimedJob."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over, and what to keep of its error."""

    id: int
    lock_version: int
    status: EndStatus
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class HandedBack:
    """A job that will run again in `delay` seconds; 0: at once. `blocked` waits for a person instead."""

    id: int
    lock_version: int
    reason: HandBackReason
    delay: float = 0.0
    error: str | None = None
    traceback: str | None = None


class Suspects(NamedTuple):
    """How many claimable jobs were lost with a worker before, up to 1000 each: may run in company; on their last."""

    in_company: int
    alone: int


class CancelledJob(NamedTuple):
    """A job that was cancelled; one that was running has to be told."""

    id: int
    was_running: bool


class RetriedJob(NamedTuple):
    """A job that was asked to run again; `problem` is None if it will."""

    id: int
    problem: Literal["unknown", "live", "completed", "key taken"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """Everything that is known of one job, live or over. Times are those of the database.

    args: JSON. due_at: when a job that waits is due; None without a time. reason: why a live job waits. timeout:
    seconds. claimed_by: the id of the worker that runs it, or ran it last.
    """

    id: int
    kind: str
    queue: str
    service: str
    tenant: str | None
    status: JobStatus
    reason: str | None
    priority: int
    run_at: datetime
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    args: str
    unique_key: str | None
    attempts: int
    max_attempts: int
    interruptions: int
    losses: int
    timeout: float
    trace_parent: str | None
    last_error: str | None
    traceback: str | None
    lock_version: int
    claimed_by: int | None
    claimed_at: datetime | None
    deadline_at: datetime | None

    @property
    def is_final(self) -> bool:
        """Whether the job is over."""
        return self.status in FINAL
