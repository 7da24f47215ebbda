"""One run of a job: what the runtime knows of it, and the context that its handler gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs import limited, limits
from supervisor.jobs.context import JobContext, idempotency_key
from supervisor.jobs.outcomes import Cancelled
from supervisor.jobs.own_transaction import own_transaction
from supervisor.jobs.step_book import StepBook
from supervisor.jobs.sync_context import SyncContext
from supervisor.store import control, jobs
from supervisor.store.steps import Progress

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from supervisor.jobs.context import Connection, StepMode
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.job import Job
    from supervisor.jobs.limited import Spend
    from supervisor.jobs.threads import ThreadRun
    from supervisor.store.control_rows import SafetyCheck
    from supervisor.store.job_rows import ClaimedJob
    from supervisor.telemetry.run_spans import JobSpan

R = TypeVar("R")


class Run(JobContext):
    """A claimed job and its handler. One is made for each job, so it has nothing that is not needed at once.

    sent: when its claim was sent, by the clock. due: when something is to be done about it: its deadline, or after a
    cancel the end of its grace. cancelled: why it was cancelled, if it was. cut: how it lost the database, if it did.
    is_over: its handler has ended. is_settled: nothing more is to be written about it. is_abandoned: its handler was
    given up.
    """

    __slots__ = (
        "_charges",
        "_deadline",
        "book",
        "cancelled",
        "cut",
        "due",
        "in_transaction",
        "is_abandoned",
        "is_over",
        "is_settled",
        "job",
        "row",
        "sent",
        "span",
        "task",
        "tasks",
        "thread",
    )

    _charges: limited.Charges

    def __init__(self, tasks: HandlerTasks, row: ClaimedJob, job: Job[object], sent: float, due: float) -> None:
        self.tasks = tasks
        self.row = row
        self.job = job
        self.sent = sent
        self.due = self._deadline = due
        self.task: asyncio.Task[None] | None = None
        self.thread: ThreadRun | None = None
        self.book: StepBook | None = None
        self.span: JobSpan | None = None
        self.cancelled: Cancelled | None = None
        self.cut: BaseException | None = None
        self.in_transaction = self.is_abandoned = self.is_over = self.is_settled = False

    @property
    def id(self) -> int:
        """See JobContext."""
        return self.row.id

    @property
    def attempt(self) -> int:
        """See JobContext."""
        return self.row.attempts + 1

    @property
    def lock_version(self) -> int:
        """See JobContext."""
        return self.row.lock_version

    @property
    def tenant(self) -> str | None:
        """See JobContext."""
        return self.row.tenant

    @property
    def deadline(self) -> float:
        """See JobContext."""
        return self._deadline

    @property
    def sync(self) -> SyncContext:
        """See JobContext."""
        return SyncContext(self, self.tasks.loop)

    def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[R]],
        *args: object,
        mode: StepMode = "idempotent",
        result: type[R] | None = None,
    ) -> Coroutine[Any, Any, R]:
        """See JobContext."""
        return self.steps.run(name, fn, args, mode, result)

    def idempotency_key(self, name: str) -> str:
        """See JobContext; ids start at 1 in each database, so its installation is part of the key."""
        return idempotency_key(self.id, name, namespace=self.tasks.database.installation)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """See JobContext."""
        return own_transaction(self)

    async def extend(self, seconds: float) -> None:
        """See JobContext."""
        self.check_open()
        wanted = limits.seconds("ctx.extend", "seconds", seconds, least=limits.SHORTEST)
        sent = self.tasks.clock.now()
        async with self.tasks.connection(self) as link:
            moved = await jobs.extend(link, self.id, self.lock_version, wanted)
        self.check()
        if moved is None:
            raise self.lost()
        self._deadline = sent + wanted
        if self.cancelled is None:
            self.due = self._deadline
            self.tasks.deadlines.arm(self.due)

    async def progress(self, done: int, total: int | None = None) -> None:
        """See JobContext."""
        self.check_open()
        self.tasks.steps.report(Progress(self.id, self.lock_version, done, total))
        _ = self.steps  # a run with a book deletes what is on record of it when it completes

    async def safety_check(
        self, *, service: str | None = None, tenant: str | None = None, requires_changes: bool | None = None
    ) -> SafetyCheck:
        """See JobContext."""
        self.check_open()
        async with self.tasks.connection(self) as link:
            answer = await control.safety_check(
                link,
                self.job.service if service is None else service,
                self.tenant if tenant is None else tenant,
                requires_changes=self.job.changes if requires_changes is None else requires_changes,
                queue=self.row.queue,
                kind=self.row.kind,
                essential=self.job.essential,
            )
        self.check()
        return answer

    async def spend(self, limit: str, amount: float = 1.0, *, key: str | None = None, name: str | None = None) -> None:
        """See JobContext."""
        await limited.spend(self, limit, amount, key=key, name=name or self.charges.name(limit))

    def budget(
        self, limit: str, estimate: float, *, key: str | None = None, name: str | None = None
    ) -> AbstractAsyncContextManager[Spend]:
        """See JobContext."""
        return limited.budget(self, limit, estimate, key=key, name=name or self.charges.name(limit))

    @property
    def charges(self) -> limited.Charges:
        """What this run has spent, from the first time that somebody asks: most never do."""
        try:
            return self._charges
        except AttributeError:
            self._charges = limited.Charges()
            return self._charges

    @property
    def steps(self) -> StepBook:
        """The steps of this run, from the first time that somebody asks."""
        if self.book is None:
            self.book = StepBook(self)
        return self.book

    @property
    def is_watched(self) -> bool:
        """Whether its claim must be in force: it runs, and is not just about to end it itself."""
        return not (self.is_over or self.is_settled or self.in_transaction) and self.cancelled is None

    def check(self) -> None:
        """Raise LeaseLost if this run may not act any more."""
        if self.is_over or self.is_settled:
            raise LeaseLost(f"job {self.id}: this run is over (lock_version {self.lock_version})")
        if self.cancelled is Cancelled.LEASE_LOST:
            raise LeaseLost(f"job {self.id}: the lease was lost (lock_version {self.lock_version})")

    def check_open(self) -> None:
        """Also raise ConfigError inside `ctx.transaction()`: it holds the job's row, and others would wait for it."""
        self.check()
        if self.in_transaction:
            raise ConfigError(f"job {self.id}: inside ctx.transaction() use its connection; call this before the block")

    def lost(self) -> LeaseLost:
        """Stop this run, since the database says that the job is no longer its own; returns the error to raise."""
        self.tasks.cancel(self, Cancelled.LEASE_LOST)
        return LeaseLost(f"job {self.id}: somebody else has it by now (lock_version {self.lock_version})")

    def __repr__(self) -> str:
        return f"<Run of job {self.id}, {self.row.kind!r}, lock_version {self.lock_version}>"
