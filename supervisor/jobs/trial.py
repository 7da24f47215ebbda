"""Runs a handler in a test: the real function and real steps, with a database of paper.

What is checked on the way through the database is checked here by the same code: the arguments, the order of the steps,
their results, and what becomes of the job.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast, overload

from supervisor.errors import ConfigError
from supervisor.jobs import limits
from supervisor.jobs.job import Job
from supervisor.jobs.outcomes import COMPLETED, Attempt, Cancelled, Decision, decide
from supervisor.jobs.step_result import decode
from supervisor.jobs.trial_context import TrialContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import TracebackType

    from supervisor.jobs.context import Connection
    from supervisor.store.steps import RecordedStep

A = TypeVar("A")

_OWNER: Final = "run_job"


@dataclass(frozen=True, slots=True)
class JobRun:
    """How a run of a handler ended, and what would be on record of it.

    decision: what becomes of the job; `decision.action` says it in a word. error: what the handler raised. steps: the
    result of each finished step, by name. progress: the last `(done, total)` that was reported. attempt: its number.
    spent: how much of each limit.
    """

    decision: Decision
    error: BaseException | None
    steps: Mapping[str, object]
    progress: tuple[int, int | None] | None
    attempt: int
    recorded: tuple[RecordedStep, ...] = field(repr=False)
    spent: Mapping[str, float] = field(default_factory=dict)


@overload
async def run_job(
    job: Job[None],
    args: None = None,
    *,
    attempt: int | None = None,
    after: JobRun | None = None,
    conn: Connection | None = None,
    tenant: str | None = None,
    within: float | None = None,
    job_id: int = 1,
    seed: int = 0,
) -> JobRun: ...
@overload
async def run_job(
    job: Job[A],
    args: A,
    *,
    attempt: int | None = None,
    after: JobRun | None = None,
    conn: Connection | None = None,
    tenant: str | None = None,
    within: float | None = None,
    job_id: int = 1,
    seed: int = 0,
) -> JobRun: ...
async def run_job(  # noqa: PLR0913 - each is one property of the run, all by keyword
    job: Job[A],
    args: A | None = None,
    *,
    attempt: int | None = None,
    after: JobRun | None = None,
    conn: Connection | None = None,
    tenant: str | None = None,
    within: float | None = None,
    job_id: int = 1,
    seed: int = 0,
) -> JobRun:
    """Run the handler of a job once, and return how that ended; what the handler raises is in the answer.

    The arguments make the way through JSON first. Steps run, and their results are kept in memory: `after` an earlier
    run of the same job, this is its next attempt, which finds them. `attempt` (1) is for a handler that looks at it. A
    `ctx.transaction()`, and a step in mode `transactional`, need `conn`: a connection to a database of the test, or
    anything that behaves like one; if it has a method `transaction`, that is used. `within` replaces the time-out of
    the job, in seconds. `seed` fixes the jitter of a retry's delay.

    Raises ConfigError and InvalidPayload for what could not be enqueued.
    """
    if not isinstance(job, Job):
        raise ConfigError(f"{_OWNER}: {job!r} is no job: put @job() above the function")
    given = job.decode(job.encode(cast("A", args)))
    before = after.attempt if after is not None else 0
    number = limits.attempts(_OWNER, "attempt", before + 1 if attempt is None else attempt)
    allowed = job.timeout if within is None else limits.seconds(_OWNER, "within", within)
    recorded = after.recorded if after is not None else ()
    context = TrialContext(job.kind, recorded, job_id, number, tenant, allowed, conn)
    error, cancelled = await _end_of(job, given, context)
    if context.mistake is not None:
        raise context.mistake
    ended = Attempt(number=number, most=job.max_attempts, timeout=allowed, retry=job.retry)
    rows = context.book.rows
    chance = random.Random(seed)  # noqa: S311 - jitter is no secret
    return JobRun(
        COMPLETED if context.is_settled else decide(ended, error, cancelled, chance),
        error,
        {row.name: decode(job.kind, row.name, row.result or "null", None) for row in rows if row.done},
        context.reported,
        number,
        tuple(rows),
        context.spent,
    )


async def _end_of(job: Job[A], args: A, context: TrialContext) -> tuple[BaseException | None, Cancelled | None]:
    """Run the handler to its end; return what it raised, and why it was cancelled."""
    errors: list[BaseException] = []
    with _Recorded():
        async with context.limit:
            try:
                if job.is_async:
                    await cast("Awaitable[object]", job.invoke(args, context))
                else:
                    await asyncio.to_thread(job.invoke, args, context)
            except BaseException as error:
                errors.append(error)
                raise
            finally:
                context.is_over = True
    return errors[0] if errors else None, Cancelled.TIMEOUT if context.limit.expired() else None


class _Recorded:
    """Keeps inside what a handler raised. The cancel of the test itself passes, and so does what ends the process."""

    def __enter__(self) -> None:
        task = asyncio.current_task()
        self._cancels = task.cancelling() if task is not None else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            return task is not None and task.cancelling() <= self._cancels
        return not isinstance(error, KeyboardInterrupt | SystemExit)
