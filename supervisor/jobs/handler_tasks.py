"""The handlers that run in this process: each in a task of its own, whose end is always recorded."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from asyncio import CancelledError
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError, DatabaseUnavailable
from supervisor.jobs import reports
from supervisor.jobs.deadlines import Deadlines
from supervisor.jobs.outcomes import Action, Attempt, Cancelled, decide
from supervisor.jobs.run_context import Run
from supervisor.jobs.threads import Threads
from supervisor.tree.refs import RUNNING
from supervisor.tree.signal import Signal
from supervisor.tree.stack import describe_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from supervisor.jobs.catalog import Catalog
    from supervisor.jobs.events import JobEvent
    from supervisor.jobs.hooks import JobHooks
    from supervisor.jobs.outbox import Outbox
    from supervisor.jobs.slots import Slots
    from supervisor.jobs.step_log import StepLog
    from supervisor.store.database import Database
    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link
    from supervisor.telemetry.run_spans import JobTracer
    from supervisor.tree.clock import Clock
    from supervisor.tree.runtime import Runtime

GRACE: Final = 10.0
"""Seconds between the cancel of a handler and its being given up: as many as the reaper leaves it to be written."""

ABANDONED: Final = 75
"""The exit code that is asked for when a handler survives its cancel."""

SHARE: Final = 5
"""Connections of the pool that handlers may use at the same time, of the 8 that it has."""

_log = logging.getLogger(__name__)


class HandlerTasks:
    """Started by whoever claims; watched, cancelled and waited for by the executor, who must `attach` it first.

    len: the handlers that have not ended, also those that were given up. idle: set when the last of them has ended, and
    during a drain when any has. `threads` is how many plain `def` handlers may run at once, by default as many as there
    are slots. Raises ConfigError for jobs that cannot run here.
    """

    clock: Clock
    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines[Run]

    def __init__(  # noqa: PLR0913, PLR0917 - what the actors of one process share
        self,
        catalog: Catalog,
        slots: Slots,
        outbox: Outbox,
        steps: StepLog,
        hooks: JobHooks,
        database: Database,
        threads: int | None = None,
    ) -> None:
        for job in catalog:
            if job.isolation == "process":
                raise ConfigError(f"job {job.kind!r}: isolation='process' is not available yet; use a plain `def`")
        self.catalog: Final = catalog
        self._jobs: Final = {job.kind: job for job in catalog}
        self.steps: Final = steps
        self.database: Final = database
        self.threads: Final = Threads(slots.total if threads is None else threads)
        self.idle: Final = Signal()
        self._slots: Final = slots
        self._outbox: Final = outbox
        self._hooks: Final = hooks
        self._running: Final = set[Run]()
        self._tracer: JobTracer | None = None
        self._share = asyncio.Semaphore(SHARE)
        self._draining = False
        self.claimed_as = 0
        """The last worker as which jobs were claimed."""

    def attach(self, runtime: Runtime, path: str, tracer: JobTracer | None = None) -> None:
        """Run on this loop from now on, and report as the actor at `path`."""
        if runtime.loop is None:
            raise ConfigError("handlers run in a tree that has started")
        self._runtime, self._path, self._tracer = runtime, path, tracer
        self._draining = False
        self.clock, self.loop = runtime.clock, runtime.loop
        self.deadlines = Deadlines(self.clock, self._running, self._late)
        self._context = contextvars.copy_context()
        self._context.run(RUNNING.set, None)  # a handler is no actor, and asks in nobody's name

    def detach(self) -> None:
        """Watch no more deadlines, and let idle threads end."""
        self.deadlines.close()
        self.threads.close()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def unfinished(self) -> bool:
        """Whether a handler runs that was not given up."""
        return any(not run.is_settled for run in self._running)

    async def drained(self) -> None:
        """Return when every handler has ended or was given up."""
        self._draining = True
        while self.unfinished:
            await self.idle.wait()

    @property
    def runs(self) -> list[Run]:
        """What runs now, in no order."""
        return list(self._running)

    def oldest(self) -> float | None:
        """Seconds until the earliest deadline, negative if it has passed; None if nothing runs."""
        due = min((run.due for run in self._running), default=math.inf)
        return None if due == math.inf else due - self.clock.now()

    @asynccontextmanager
    async def connection(self, run: Run) -> AsyncIterator[Link]:
        """Lend a handler a connection; all handlers together leave some of the pool to those who write their ends.

        How long they wait for one is bounded by their own deadlines. Raises DatabaseUnavailable.
        """
        link: Link | None = None
        async with self._share:
            try:
                async with self.database.connection() as link:
                    yield link
            except DatabaseUnavailable as error:
                if link is None or link.is_broken:
                    run.cut = error
                raise

    def start(self, rows: Iterable[ClaimedJob], sent: float) -> None:
        """Start the handlers of jobs that were claimed, by a statement that was sent at `sent` by the clock.

        Their slots are taken already.
        """
        jobs, running, deadlines = self._jobs, self._running, self.deadlines
        create_task, copy = self.loop.create_task, self._context.copy
        told = bool(self._hooks) or self._tracer is not None
        for row in rows:
            job = jobs[row.kind]
            due = sent + row.timeout
            run = Run(self, row, job, sent, due)
            running.add(run)
            if due < deadlines.next:
                deadlines.arm(due)
            context = self._told(run) if told else copy()
            if job.is_async:
                run.task = create_task(_live(run), context=context)
            else:
                self.threads.start(run, context)

    def finished(self, run: Run, error: BaseException | None) -> None:
        """Record the end of a handler: give its slot back, and put what became of the job into the outbox."""
        self._running.discard(run)
        run.is_over = True
        self._slots.give()
        if run.thread is not None:
            self.threads.free += 1
        if error is None and run.book is None and run.row.lock_version == 1 and not run.is_settled:
            self._outbox.completed(run.row)
            if self._hooks or run.span is not None:
                self._completed(run)
        else:
            self._decide(run, error)
            run.book = None  # they refer to each other
        if self._draining or not self._running:
            self.idle.set()

    def cancel(self, run: Run, reason: Cancelled) -> None:
        """Cancel a handler, once; a lost lease also changes the reason of a cancel that was sent already."""
        if run.cancelled is not None or run.is_settled:
            if reason is Cancelled.LEASE_LOST:
                run.cancelled = reason
            return
        run.cancelled = reason
        run.due = self.clock.now() + GRACE
        self.deadlines.arm(run.due)
        if run.task is not None:
            # Not at once: a task that is cancelled before its first step never enters its body, where its end is seen.
            self.loop.call_soon(run.task.cancel)
        elif run.thread is not None and run.thread.cancel():
            self.finished(run, CancelledError())

    def cancel_all(self, reason: Cancelled) -> int:
        """Cancel every handler; returns how many run."""
        for run in self.runs:
            self.cancel(run, reason)
        return len(self._running)

    def cancel_job(self, job_id: int) -> None:
        """Stop the handler of a job that somebody has cancelled, if it runs here: it is over in the database."""
        for run in [run for run in self._running if run.id == job_id]:
            self.cancel(run, Cancelled.LEASE_LOST)

    def abandon(self, run: Run) -> None:
        """Give a handler up that survived its cancel: nothing is written, and the process is asked to end."""
        if run.is_settled or run.is_over:
            return
        run.is_abandoned = run.is_settled = True
        run.due = math.inf
        where = run.thread.stack() if run.thread is not None else describe_stack(run.task) if run.task else ""
        reason = run.cancelled.value if run.cancelled is not None else ""
        self._tell(reports.abandoned(self._path, run.row, reason, self.clock.now() - run.sent, where))
        self._runtime.request_exit(self._path, ABANDONED, f"the handler of job {run.id} cannot be stopped")

    def sweep(self) -> None:
        """Record the end of tasks that somebody else cancelled before their first step."""
        for run in [run for run in self._running if run.task is not None and run.task.done()]:
            self.finished(run, CancelledError())

    def _late(self, run: Run) -> None:
        if run.cancelled is None:
            self.cancel(run, Cancelled.TIMEOUT)
        else:
            self.abandon(run)

    def _told(self, run: Run) -> contextvars.Context:
        """Tell hooks and tracer of a start; returns the context of the handler."""
        if self._hooks:
            self._hooks.tell(reports.started(self._path, run.row))
        if self._tracer is None:
            return self._context.copy()
        row = run.row
        run.span = self._tracer.start(row.id, row.kind, row.queue, row.attempts + 1, row.tenant, row.trace_parent)
        return self._context.run(run.span.context)

    def _completed(self, run: Run) -> None:
        if run.span is not None:
            run.span.end()
        if self._hooks:
            self._hooks.tell(reports.completed(self._path, run.row, self.clock.now() - run.sent))

    def _decide(self, run: Run, error: BaseException | None) -> None:
        row = run.row
        if run.is_abandoned:
            return
        if run.is_settled:
            if error is not None and run.cancelled is None:
                _log.warning("job %d: its handler failed after it had completed it", row.id, exc_info=error)
            self._completed(run)
            return
        attempt = Attempt(number=row.attempts + 1, most=row.max_attempts, timeout=row.timeout, retry=run.job.retry)
        decision = decide(attempt, error, run.cancelled, self._runtime.random, run.cut)
        if decision.action is Action.COMPLETE:
            self._outbox.completed_with_steps(row)
            self._completed(run)
            return
        self._outbox.ended(row, decision)
        if run.span is not None:
            run.span.end(error, decision.action.value)
        if decision.is_ours:
            self._tell(reports.ended(self._path, row, decision, self.clock.now() - run.sent))
        elif self._hooks:
            self._hooks.tell(reports.fenced(self._path, row))

    def _tell(self, event: JobEvent) -> None:
        self._runtime.emit(event)
        if self._hooks:
            self._hooks.tell(event)


async def _live(run: Run) -> None:
    job = run.job
    try:
        await job.invoke(job.payload.decode(run.row.args), run)  # type: ignore[misc]  # `is_async` says that it can be awaited
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the one place where the end of a handler is recorded
        run.tasks.finished(run, error)
    else:
        run.tasks.finished(run, None)
