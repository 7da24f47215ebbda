"""What becomes of a job after its handler ended: one decision, from what the handler did and nothing else.

`Retry`, `Snooze` and `Discard` are not errors: a handler raises them, from any depth, to say what should happen next.
"""

from __future__ import annotations

import enum
from asyncio import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from supervisor.errors import ConfigError, StepUnresolved, UnexpectedCancel
from supervisor.jobs.error_text import summary, traceback_of
from supervisor.jobs.limits import seconds
from supervisor.jobs.retry import DEFAULT, RetryPolicy, leaves

if TYPE_CHECKING:
    import random


class Retry(Exception):
    """Raised by a handler to be run again: it costs an attempt; with none left the job has failed.

    `after` is in seconds; None leaves the delay to the job's retry policy. Raises ConfigError for an impossible delay.
    """

    def __init__(self, after: float | None = None, reason: str = "") -> None:
        super().__init__(after, reason)
        self.after = None if after is None else seconds("Retry", "after", after)
        self.reason = _checked_reason("Retry", reason)

    def __str__(self) -> str:
        return self.reason


class Snooze(Exception):
    """Raised by a handler to be run again in `after` seconds; costs no attempt.

    Raises ConfigError for an impossible delay.
    """

    def __init__(self, after: float) -> None:
        super().__init__(after)
        self.after = seconds("Snooze", "after", after)


class Discard(Exception):
    """Raised by a handler whose job has become pointless: it ends, without an error and without another attempt."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = _checked_reason("Discard", reason)


class Cancelled(enum.Enum):
    """Why the runtime cancelled a handler."""

    TIMEOUT = "timeout"
    """It was past its deadline."""

    STOP = "stop"
    """The process stops; the job did nothing wrong."""

    LEASE_LOST = "lease lost"
    """The job is, or may soon be, somebody else's: nothing may be written about it."""


class Action(enum.Enum):
    """What to do with the job. The values are what the database calls it. BLOCK: it waits for a person."""

    COMPLETE = "completed"
    RETRY = "retry"
    SNOOZE = "snoozed"
    FAIL = "failed"
    DISCARD = "discarded"
    INTERRUPTED = "interrupted"
    BLOCK = "blocked"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a job, and what to keep of its error.

    `delay` is in seconds, for RETRY and SNOOZE. `error` is one line, `traceback` at most 16 KiB; both can be stored as
    text in PostgreSQL. `is_ours` is false when the lease was lost: then nothing is written.
    """

    action: Action
    delay: float = 0.0
    error: str | None = None
    traceback: str | None = None
    is_ours: bool = True


_SPOKEN: Final = Retry | Snooze | Discard | StepUnresolved

CUT_PAUSE: Final = 1.0
"""Seconds, half to one and a half of which pass before a job that the loss of its database has ended is run again."""

COMPLETED: Final = Decision(Action.COMPLETE)
INTERRUPTED: Final = Decision(Action.INTERRUPTED)
LOST: Final = Decision(Action.INTERRUPTED, is_ours=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a job: the `number`-th of at most `most` (from 1), with `timeout` seconds for it."""

    number: int
    most: int
    timeout: float
    retry: RetryPolicy = DEFAULT


def decide(
    attempt: Attempt,
    error: BaseException | None,
    cancelled: Cancelled | None,
    random: random.Random,
    cut: BaseException | None = None,
) -> Decision:
    """Turn how a handler ended into what happens to its job.

    `error` is what it raised, None if it returned; `cancelled` is why the runtime cancelled it, None if it did not.
    `cut` is the failure of the job's own database that it met, if any: to end with it is nobody's fault.
    A handler that returns has done its work, also while it was being cancelled: whether the job was still its own is
    for the database to say. The question is always "did we cancel it?": a cancel that nobody asked for is a failure.
    """
    if error is None:
        return COMPLETED
    if cancelled is Cancelled.LEASE_LOST:
        return LOST
    match _spoken(error):
        case Snooze(after=after):
            return Decision(Action.SNOOZE, after)
        case Discard(reason=reason):
            return Decision(Action.DISCARD, error=summary(error) if reason else None)
        case StepUnresolved() as unresolved:
            return Decision(Action.BLOCK, error=summary(unresolved), traceback=traceback_of(error))
        case Retry() as asked:
            return _again(attempt, asked, error, random)
        case None:
            if cut is not None and cancelled is None and _stems_from(error, cut):
                return Decision(Action.INTERRUPTED, CUT_PAUSE * (0.5 + random.random()), summary(error))
            return _after_failure(attempt, error, cancelled, random)


def _after_failure(
    attempt: Attempt, error: BaseException, cancelled: Cancelled | None, random: random.Random
) -> Decision:
    ours = cancelled if _stems_from(error) else None
    match ours:
        case Cancelled.STOP:
            return INTERRUPTED
        case Cancelled.TIMEOUT:
            late = TimeoutError(f"still running after its time-out of {attempt.timeout:g} s")
            return _failed(attempt, late, traceback_of(error), random)
        case Cancelled.LEASE_LOST:
            return LOST
        case None:
            if isinstance(error, CancelledError):
                text = traceback_of(error)
                return _failed(attempt, UnexpectedCancel("cancelled by code other than the runtime"), text, random)
            return _failed(attempt, error, traceback_of(error), random)
        case _:
            assert_never(ours)


def _failed(attempt: Attempt, error: BaseException, text: str, random: random.Random) -> Decision:
    """Retry if the policy and the number of attempts allow it."""
    line = summary(error)
    if attempt.number >= attempt.most:
        return Decision(Action.FAIL, error=line, traceback=text)
    try:
        delay = attempt.retry.delay(attempt.number, error, random)
    except Exception as broken:  # noqa: BLE001 - a broken policy is on record and must not cost the job its attempts
        delay = DEFAULT.delay(attempt.number, error, random)
        line = summary(error, f"and its retry policy failed: {summary(broken)}")
    if delay is None:
        return Decision(Action.FAIL, error=line, traceback=text)
    return Decision(Action.RETRY, delay, line, text)


def _again(attempt: Attempt, asked: Retry, error: BaseException, random: random.Random) -> Decision:
    if asked.after is None or attempt.number >= attempt.most:
        return _failed(attempt, asked, traceback_of(error), random)
    return Decision(Action.RETRY, asked.after, summary(asked), traceback_of(error))


def _spoken(error: BaseException) -> Retry | Snooze | Discard | StepUnresolved | None:
    """Find the control exception that a handler ended with, also from inside a task group.

    A group speaks only if all else in it are cancels: an error beside a `Snooze` must not go unseen.
    """
    if isinstance(error, _SPOKEN):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    others = [leaf for leaf in leaves(error) if not isinstance(leaf, CancelledError)]
    if len(others) == 1 and isinstance(others[0], _SPOKEN):
        return others[0]
    return None


def _stems_from(error: BaseException, cause: BaseException | None = None) -> bool:
    """Whether an error is `cause`, by default any cancel, or was raised in answer to it, as by a failed clean-up."""
    waiting, seen = [error], set[int]()
    while waiting:
        part = waiting.pop()
        if part is cause or (cause is None and isinstance(part, CancelledError)):
            return True
        if id(part) not in seen:
            seen.add(id(part))
            waiting += [before for before in (part.__cause__, part.__context__) if before is not None]
            if isinstance(part, BaseExceptionGroup):
                waiting += part.exceptions
    return False


def _checked_reason(owner: str, reason: object) -> str:
    if not isinstance(reason, str):
        raise ConfigError(f"{owner}: reason={reason!r}: must be a text")
    return reason
