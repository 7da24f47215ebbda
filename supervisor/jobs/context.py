"""What a handler can ask of the runtime while its job runs."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar, TypeVarTuple, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from supervisor.jobs.limited import Spend
    from supervisor.jobs.sync_context import SyncContext
    from supervisor.store.control_rows import SafetyCheck

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

StepMode: TypeAlias = Literal["transactional", "idempotent", "at_most_once"]


class Row(Protocol):
    """A row of a result: by column name or by position."""

    def __getitem__(self, column: str | int, /) -> object:
        """Give the value of a column."""


class Connection(Protocol):
    """What a handler may do with the connection of its transaction: the part of asyncpg's that is promised here."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement; returns its status, such as `UPDATE 1`."""

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        """Run a query and return all rows."""

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        """Run a query and return the first row."""

    async def fetchval(self, query: str, *args: object, column: int = 0) -> object:
        """Run a query and return one value of the first row."""


class JobContext(ABC):
    """The running job, as its handler sees it; valid until the handler ends.

    After that, and once the job is no longer this run's, every method raises LeaseLost. The methods are for handlers on
    the event loop; a plain `def` handler, which runs in a thread, finds them in `sync`.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def id(self) -> int:
        """The job's id."""

    @property
    @abstractmethod
    def attempt(self) -> int:
        """1 for the first run; runs that were interrupted by a stop do not count."""

    @property
    @abstractmethod
    def lock_version(self) -> int:
        """The fence of this run; a write that carries an older one is refused."""

    @property
    @abstractmethod
    def tenant(self) -> str | None:
        """Whose job it is, if anybody's."""

    @property
    @abstractmethod
    def deadline(self) -> float:
        """The reading of `time.monotonic()` in seconds at which the handler is cancelled."""

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[[*Ts], Awaitable[R]],
        *args: *Ts,
        mode: Literal["idempotent", "at_most_once"] = "idempotent",
        result: type[R] | None = None,
    ) -> R: ...
    @overload
    async def step(
        self,
        name: str,
        fn: Callable[[Connection, *Ts], Awaitable[R]],
        *args: *Ts,
        mode: Literal["transactional"],
        result: type[R] | None = None,
    ) -> R: ...
    @abstractmethod
    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[R]],
        *args: object,
        mode: StepMode = "idempotent",
        result: type[R] | None = None,
    ) -> R:
        """Run `fn(*args)` once for this job and remember its result: a later attempt gets the result without a call.

        `name` must be unique in the handler, and the steps of a job must come in the same order in each attempt. After
        a crash in the middle, `idempotent` calls `fn` again; `at_most_once` does not, and parks the job until a person
        says what happened; `transactional` calls `fn(connection, *args)` in a transaction that also records the result,
        for writes to the job's own database. An error of `fn` passes through and is not remembered.

        The result must be JSON: None, bool, int, float, str, lists and dicts of them. For a dataclass, a msgspec.Struct
        or a tuple name its type in `result`; JSON alone would give back a dict or a list, so without it they are
        refused. What is returned has been through JSON, in the first run too, so that every run sees the same.

        Raises StepMismatch if an earlier attempt recorded other steps, StepUnresolved if it began this one and never
        said how it ended (let it pass: the job is then parked), InvalidPayload for a result that cannot be stored,
        LeaseLost.
        """

    def idempotency_key(self, name: str) -> str:
        """Give the same text in each attempt of this job, for services that accept an idempotency key.

        Different names, and different jobs, give different keys.
        """
        return idempotency_key(self.id, name)

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction in which the handler's writes and the job's completion commit together, or not at all.

        It must be the last thing that the handler does: after it the job is completed, whatever follows. If the lease
        was lost, nothing commits, and entering or leaving the block raises LeaseLost.
        """

    @abstractmethod
    async def extend(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now (finite, more than 0); raises LeaseLost if the lease was lost."""

    @abstractmethod
    async def progress(self, done: int, total: int | None = None) -> None:
        """Tell people how far the job is. Cheap: of what is said within a second, the last is written."""

    @abstractmethod
    async def safety_check(
        self, *, service: str | None = None, tenant: str | None = None, requires_changes: bool | None = None
    ) -> SafetyCheck:
        """Ask whether such work may go on now, before something that cannot be undone.

        It is the question that was asked when the job was claimed: of the kill switch, the mode, and the job's kind,
        queue, service and tenant. service, tenant, requires_changes: other than the job's own. Raises LeaseLost,
        DatabaseUnavailable.
        """

    @abstractmethod
    async def spend(self, limit: str, amount: float = 1.0, *, key: str | None = None, name: str | None = None) -> None:
        """Take `amount` of a limit of place `call`, for good; a retried job does not take it again.

        key: whose share; by default that of what the limit counts by. name: by which the next run of the job knows it;
        by default the order in which a handler, or a step of it, asks. A window and a rate count each run's calls.
        Raises LimitReached if there is not so much left: let it pass, and the job runs again when there may be, at no
        cost of an attempt. Raises ConfigError for a limit that is not there, LeaseLost, DatabaseUnavailable.
        """

    @abstractmethod
    def budget(
        self, limit: str, estimate: float, *, key: str | None = None, name: str | None = None
    ) -> AbstractAsyncContextManager[Spend]:
        """Reserve `estimate` of a quota or budget for a block, which settles what it has cost: `spend.settle(actual)`.

        A block that does not say has cost the estimate; one that fails and does not say, nothing. After a crash the
        reservation comes back by itself. Enters as `spend`, and raises the same.
        """

    @property
    def sync(self) -> SyncContext:
        """The same for a plain `def` handler: `ctx.sync.step(…)` waits in the handler's thread."""
        raise NotImplementedError(f"{type(self).__name__} has no event loop to reach from a thread")


def idempotency_key(job_id: int, name: str, *, namespace: str = "") -> str:
    """Hash a job and a name into 32 hexadecimal digits: half of SHA-256, the same on every host and in every version.

    Ids start at 1 in each database, so `namespace` should be something that no two databases share.
    """
    # Lengths first: no choice of names can make two different inputs the same text.
    text = f"{len(namespace)}:{namespace}{job_id}:{name}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
