"""The context of a handler that runs in a test: nothing is written anywhere, and all of it can be looked at."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar, cast

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs import limits
from supervisor.jobs.context import JobContext
from supervisor.jobs.limited import Spend, checked_amount
from supervisor.jobs.step_book import StepBook
from supervisor.jobs.step_result import checked, decode, encode
from supervisor.jobs.sync_context import SyncContext
from supervisor.store.control_rows import ALL_ON
from supervisor.store.steps import RecordedStep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from supervisor.jobs.context import Connection, StepMode
    from supervisor.jobs.run_context import Run
    from supervisor.store.control_rows import SafetyCheck

R = TypeVar("R")

_ANSWER: Final = 10.0
"""Seconds that the thread of a plain handler waits for the event loop."""


class TrialBook(StepBook):
    """Steps whose results stay in memory; `rows` is what is on record, in the order in which it was written."""

    __slots__ = ("_trial", "rows")

    def __init__(self, trial: TrialContext, rows: Iterable[RecordedStep]) -> None:
        super().__init__(cast("Run", trial))
        self._trial = trial
        self.rows = list(rows)
        self._recorded = {row.name: row for row in self.rows}

    async def _record(self, name: str, text: str | None, *, done: bool) -> None:
        self._trial.check()
        self.rows = [row for row in self.rows if row.name != name]
        now = datetime.now(UTC)
        self.rows.append(RecordedStep(name, self._places[name], done, text, self._trial.lock_version, now))

    async def _in_transaction(
        self, name: str, fn: Callable[..., Awaitable[R]], args: tuple[object, ...], result: type[R] | None
    ) -> R:
        kind = self._trial.kind
        known = await self.begin(name, "transactional")
        if known is None:
            try:
                async with self._trial.opened(f"step {name!r}") as connection:
                    known = encode(kind, name, await fn(connection, *args), result)
                await self.end(name, known)
            except BaseException:
                self.give_up(name)
                raise
        value: R = decode(kind, name, known, result)
        return value


class TrialContext(JobContext):
    """The context, which is also the run as its book sees it.

    book: its steps. reported: the last progress. spent: of each limit. is_settled: a transaction has completed the job.
    is_over: the handler has ended. mistake: what the test forgot.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - see run_job
        self,
        kind: str,
        recorded: Iterable[RecordedStep],
        job_id: int,
        attempt: int,
        tenant: str | None,
        timeout: float,
        conn: Connection | None,
    ) -> None:
        self.kind = kind
        self.row = self  # of a claimed job's row a book asks for the kind only
        self.span = None  # nothing is traced
        self._id, self._attempt, self._tenant, self._conn = job_id, attempt, tenant, conn
        self._deadline = time.monotonic() + timeout
        self.limit = asyncio.timeout(timeout)
        self.loop = asyncio.get_running_loop()
        self.reported: tuple[int, int | None] | None = None
        self.spent: dict[str, float] = {}
        self.in_transaction = self.is_over = self.is_settled = False
        self.mistake: ConfigError | None = None
        self.book = TrialBook(self, recorded)

    @property
    def id(self) -> int:
        """See JobContext."""
        return self._id

    @property
    def attempt(self) -> int:
        """See JobContext."""
        return self._attempt

    @property
    def lock_version(self) -> int:
        """See JobContext."""
        return self._attempt

    @property
    def tenant(self) -> str | None:
        """See JobContext."""
        return self._tenant

    @property
    def deadline(self) -> float:
        """See JobContext."""
        return self._deadline

    @property
    def sync(self) -> SyncContext:
        """See JobContext."""
        return _TrialSync(self)

    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[R]],
        *args: object,
        mode: StepMode = "idempotent",
        result: type[R] | None = None,
    ) -> R:
        """See JobContext."""
        return await self.book.run(name, fn, args, mode, result)

    @asynccontextmanager
    async def _completing(self) -> AsyncIterator[Connection]:
        self.check_open()
        async with self.opened("ctx.transaction()") as connection:
            self.in_transaction = True
            try:
                yield connection
            finally:
                self.in_transaction = False
        self.is_settled = True

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """See JobContext."""
        return self._completing()

    async def extend(self, seconds: float) -> None:
        """See JobContext."""
        self.check_open()
        wanted = limits.seconds("ctx.extend", "seconds", seconds, least=limits.SHORTEST)
        self._deadline = time.monotonic() + wanted
        self.limit.reschedule(self.loop.time() + wanted)

    async def progress(self, done: int, total: int | None = None) -> None:
        """See JobContext."""
        self.check_open()
        self.reported = (done, total)

    async def spend(self, limit: str, amount: float = 1.0, *, key: str | None = None, name: str | None = None) -> None:
        """See JobContext; in a test there is always enough."""
        _ = key, name
        self.check_open()
        self.spent[limit] = self.spent.get(limit, 0.0) + checked_amount("ctx.spend", "amount", amount)

    @asynccontextmanager
    async def budget(
        self, limit: str, estimate: float, *, key: str | None = None, name: str | None = None
    ) -> AsyncIterator[Spend]:
        """See JobContext; in a test there is always enough."""
        _ = key, name
        self.check_open()
        with spending(self.spent, limit, estimate) as found:
            yield found

    async def safety_check(
        self, *, service: str | None = None, tenant: str | None = None, requires_changes: bool | None = None
    ) -> SafetyCheck:
        """See JobContext; in a test nothing is off."""
        _ = service, tenant, requires_changes
        self.check_open()
        return ALL_ON

    def check(self) -> None:
        """Raise LeaseLost once the run is over."""
        if self.is_over or self.is_settled:
            raise LeaseLost(f"job {self.id}: this run is over (lock_version {self.lock_version})")

    def check_open(self) -> None:
        """Also raise ConfigError inside `ctx.transaction()`."""
        self.check()
        if self.in_transaction:
            raise ConfigError(f"job {self.id}: inside ctx.transaction() use its connection; call this before the block")

    @asynccontextmanager
    async def opened(self, what: str) -> AsyncIterator[Connection]:
        """Open a transaction of the test's connection; a stand-in need not have any."""
        if self._conn is None:
            self.mistake = ConfigError(f"run_job: {what} needs a connection: write run_job(…, conn=connection)")
            raise self.mistake
        begin = getattr(self._conn, "transaction", None)
        async with AsyncExitStack() as stack:
            if begin is not None:
                await stack.enter_async_context(begin())
            yield self._conn


@contextmanager
def spending(spent: dict[str, float], limit: str, estimate: float) -> Iterator[Spend]:
    """Count what a block has cost: what it says, or the estimate, or nothing if it fails and does not say."""
    found = Spend(checked_amount("ctx.budget", "estimate", estimate))
    cost = 0.0
    try:
        yield found
        cost = found.amount
    finally:
        spent[limit] = spent.get(limit, 0.0) + (cost if found.actual is None else found.actual)


class _TrialSync(SyncContext):
    """The same, for the thread of a plain handler."""

    __slots__ = ("_book", "_trial")

    def __init__(self, trial: TrialContext) -> None:
        self._trial, self._book = trial, trial.book

    def step(
        self,
        name: str,
        fn: Callable[..., R],
        *args: object,
        mode: StepMode = "idempotent",
        result: type[R] | None = None,
    ) -> R:
        """See SyncContext."""
        if mode == "transactional":
            raise ConfigError(f"step {name!r}: mode={mode!r}: in a thread it is idempotent or at_most_once")
        checked(self._trial.kind, result)
        known = self._on_loop(self._book.begin(name, mode))
        if known is None:
            try:
                known = encode(self._trial.kind, name, fn(*args), result)
                self._on_loop(self._book.end(name, known))
            except BaseException:
                self._trial.loop.call_soon_threadsafe(self._book.give_up, name)
                raise
        value: R = decode(self._trial.kind, name, known, result)
        return value

    def extend(self, seconds: float) -> None:
        """See JobContext.extend."""
        self._on_loop(self._trial.extend(seconds))

    def progress(self, done: int, total: int | None = None) -> None:
        """See JobContext.progress."""
        self._on_loop(self._trial.progress(done, total))

    def spend(self, limit: str, amount: float = 1.0, *, key: str | None = None, name: str | None = None) -> None:
        """See JobContext.spend."""
        self._on_loop(self._trial.spend(limit, amount, key=key, name=name))

    @contextmanager
    def budget(
        self, limit: str, estimate: float, *, key: str | None = None, name: str | None = None
    ) -> Iterator[Spend]:
        """See JobContext.budget."""
        _ = key, name
        with spending(self._trial.spent, limit, estimate) as found:
            yield found

    def safety_check(
        self, *, service: str | None = None, tenant: str | None = None, requires_changes: bool | None = None
    ) -> SafetyCheck:
        """See JobContext.safety_check."""
        return self._on_loop(
            self._trial.safety_check(service=service, tenant=tenant, requires_changes=requires_changes)
        )

    @property
    def is_cancelled(self) -> bool:
        """See SyncContext."""
        return self._trial.is_over

    def _on_loop(self, work: Coroutine[object, object, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self._trial.loop).result(_ANSWER)
