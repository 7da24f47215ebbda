"""What happens to jobs, and to the worker that runs them, as events of the tree.

The start and the success of a job go to `JobHooks` alone, and only when somebody listens; everything else also goes
to the tree's subscribers, and so into the log. `path` names the actor that reports.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from supervisor.tree.events import Event


@dataclass(frozen=True, slots=True)
class JobEvent(Event):
    """Base of all events of one job. `attempt` is 1 for the first run."""

    job_id: int
    kind: str
    queue: str
    attempt: int
    tenant: str | None


@dataclass(frozen=True, slots=True)
class JobStarted(JobEvent):
    """Its handler begins. Only for hooks."""

    log_level: ClassVar[int] = logging.DEBUG


@dataclass(frozen=True, slots=True)
class JobCompleted(JobEvent):
    """Its handler has returned, `seconds` after its claim was sent. Only for hooks."""

    log_level: ClassVar[int] = logging.DEBUG

    seconds: float


@dataclass(frozen=True, slots=True)
class JobFailed(JobEvent):
    """Its handler failed, `seconds` after its claim was sent; it runs again in `retry_in` seconds. None: it has failed.

    `error` is one line; the traceback is kept with the job.
    """

    error: str
    retry_in: float | None
    seconds: float

    @property
    def log_level(self) -> int:
        """A job that has failed for good is worse than one that will be tried again."""
        return logging.ERROR if self.retry_in is None else logging.WARNING


@dataclass(frozen=True, slots=True)
class JobSnoozed(JobEvent):
    """Its handler asked to be run again in `delay` seconds."""

    log_level: ClassVar[int] = logging.DEBUG

    delay: float


@dataclass(frozen=True, slots=True)
class JobDiscarded(JobEvent):
    """Its handler found that the job has become pointless, for `reason` if it gave one."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class JobBlocked(JobEvent):
    """It waits until a person says what became of one of its steps; `error` names the step."""

    log_level: ClassVar[int] = logging.ERROR

    error: str


@dataclass(frozen=True, slots=True)
class JobInterrupted(JobEvent):
    """Its handler was cancelled because the process stops; it runs again elsewhere, at no cost."""

    log_level: ClassVar[int] = logging.DEBUG  # there may be thousands, and the stop has lines of its own


@dataclass(frozen=True, slots=True)
class JobFenced(JobEvent):
    """What its run wanted to write was refused: the job is somebody else's by now. Nothing was changed."""

    log_level: ClassVar[int] = logging.WARNING

    lock_version: int


@dataclass(frozen=True, slots=True)
class JobUnwritten(JobEvent):
    """The database refused to write how its run ended, with `error`; the job is released at its deadline."""

    log_level: ClassVar[int] = logging.ERROR

    error: str


@dataclass(frozen=True, slots=True)
class HandlerAbandoned(JobEvent):
    """Its handler still runs `seconds` after its cancel, so nothing is written; `stack` shows where it stands."""

    log_level: ClassVar[int] = logging.ERROR

    cancelled_for: str
    seconds: float
    stack: str


@dataclass(frozen=True, slots=True)
class JobSlow(JobEvent):
    """It has been running for `seconds`, much longer than its kind usually does; said once for each run.

    `expected` is twice the 95th percentile of its kind, in seconds, and a second at least.
    """

    log_level: ClassVar[int] = logging.WARNING

    seconds: float
    expected: float


@dataclass(frozen=True, slots=True)
class JobsEscalated(Event):
    """Jobs of a queue that had waited for too long have risen by a step."""

    queue: str
    count: int


@dataclass(frozen=True, slots=True)
class PressureRose(Event):
    """The database suffers, for `causes`: what can wait is asked of it `factor` times as seldom."""

    log_level: ClassVar[int] = logging.WARNING

    factor: float
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PressureEased(Event):
    """The database is well again."""


@dataclass(frozen=True, slots=True)
class DatabaseLost(Event):
    """The database cannot be reached, for `reason`; said once for each outage."""

    log_level: ClassVar[int] = logging.WARNING

    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseBack(Event):
    """The database can be reached again, after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerRegistered(Event):
    """This process may run jobs, as the worker with this id."""

    worker: int


@dataclass(frozen=True, slots=True)
class LeaseInDoubt(Event):
    """This process can no longer prove its lease: it has cancelled its `running` handlers and claims nothing."""

    log_level: ClassVar[int] = logging.WARNING

    worker: int
    running: int


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """The database holds this worker for dead: its jobs are somebody else's, and it registers anew."""

    log_level: ClassVar[int] = logging.ERROR

    worker: int


@dataclass(frozen=True, slots=True)
class JobsRecovered(Event):
    """Jobs were taken from a worker that will not finish them; `quarantined` of them for good."""

    log_level: ClassVar[int] = logging.WARNING

    worker: int
    count: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class JobsParked(Event):
    """Jobs that a switch or a gate stops were moved out of the way, and others that it stops no more came back."""

    parked: int
    returned: int


@dataclass(frozen=True, slots=True)
class QuarantineStarted(Event):
    """A process of its own runs the jobs that were lost with a worker before."""

    pid: int


@dataclass(frozen=True, slots=True)
class QuarantineEnded(Event):
    """That process has ended, with this exit code; negative: by a signal."""

    pid: int
    code: int


@dataclass(frozen=True, slots=True)
class SwitchFound(Event):
    """This process has started while a switch is off, or the mode is not normal: set by `actor` for `reason`."""

    log_level: ClassVar[int] = logging.WARNING

    scope: str
    name: str | None
    value: bool | str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class SwitchChanged(Event):
    """A switch was changed, which every process tells: True stops its scope, the mode is a text.

    scope: kill_switch, mode, service, tenant, queue or kind. seconds: for how long it was what it was before, if that
    was not as usual; after a kill switch so long nothing started. epoch: with which it is in force.
    """

    log_level: ClassVar[int] = logging.WARNING

    scope: str
    name: str | None
    before: bool | str
    after: bool | str
    actor: str
    reason: str
    epoch: int
    seconds: float | None
