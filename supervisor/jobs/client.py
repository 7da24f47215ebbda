"""The door to the queue for programs that are no workers: enqueue jobs, and ask what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, Self, TypeAlias, TypeVar, cast, overload

from supervisor.errors import ConfigError, DatabaseUnavailable, NotRunning
from supervisor.jobs import enqueuer, limits
from supervisor.jobs.bulk import Arguments
from supervisor.jobs.enqueue_options import checked, checked_key
from supervisor.jobs.enqueue_path import through
from supervisor.jobs.enqueue_target import target_of
from supervisor.jobs.enqueued import Enqueued, EnqueuedMany
from supervisor.store import jobs
from supervisor.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from supervisor.jobs.context import Connection
    from supervisor.jobs.job import Job
    from supervisor.store.job_rows import JobStatus, JobView, RetriedJob
    from supervisor.store.link import Link

    Json: TypeAlias = Mapping[str, object] | Sequence[object] | str | float | bool | None

A = TypeVar("A")
V = TypeVar("V")
T = TypeVar("T")

__all__ = ["Client", "Enqueued", "EnqueuedMany"]

_FIRST_LOOK: Final = 0.005
_SLOWER: Final = 1.5
_SLOWEST: Final = 0.5


class Client:
    """Enqueues jobs into a database: `async with Client(dsn) as client`. For one event loop, and any number of tasks.

    dsn: where the database is; by default what DATABASE_URL says. direct_dsn: if `dsn` leads through a pooler that
    gives each transaction another connection, the way past it. connections: how many there are at most. within: seconds
    that a call may take; in `enqueue_many`, one statement.

    Every method may raise DatabaseUnavailable; with `unknown` the database may have done it all the same.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        direct_dsn: str | None = None,
        schema: str = "supervisor",
        connections: int = 8,
        within: float = 10.0,
    ) -> None:
        self._within = limits.seconds("Client", "within", within, least=limits.SHORTEST)
        if connections < 1:
            raise ConfigError(f"Client: connections={connections!r}: must be a whole number, 1 or more")
        self._database = Database(
            _url(dsn), direct_url=direct_dsn, schema=schema, name="supervisor client", most=connections
        )
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Client {'open' if self._is_open else 'closed'}, {self._database!r}>"

    async def open(self) -> None:
        """Connect, and check that the schema is there.

        Raises ConfigError for a URL that cannot be understood, StatementRefused if the database does not let us in or
        has no schema of ours, DatabaseUnavailable.
        """
        if not self._is_open:
            await self._database.open(self._within)
            self._is_open = True

    async def close(self) -> None:
        """Disconnect; calls that are under way have some seconds to end."""
        self._is_open = False
        await self._database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @overload
    async def enqueue(
        self,
        job: Job[None],
        args: None = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: str | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> Enqueued: ...
    @overload
    async def enqueue(
        self,
        job: Job[dict[str, V]],
        args: Mapping[str, V],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: str | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> Enqueued: ...
    @overload
    async def enqueue(
        self,
        job: Job[list[V]],
        args: Sequence[V],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: str | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> Enqueued: ...
    @overload
    async def enqueue(
        self,
        job: Job[A],
        args: A,
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: str | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> Enqueued: ...
    @overload
    async def enqueue(
        self,
        job: str,
        args: Json = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: str | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> Enqueued: ...
    async def enqueue(  # noqa: PLR0913 - each is one property of a job, all but two by keyword
        self,
        job: Job[A] | str,
        args: object = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: str | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> Enqueued:
        """Put one job in, and return its id.

        job: the handler, or the name of its kind if that is in another program. queue, max_attempts: by default those
        of the kind, as workers have offered it. priority: the smaller, the sooner. run_at: a datetime with its time
        zone, or seconds from now. unique_key: while a job with the same key is live, that one stands for the new one.
        conn: an asyncpg connection; the job appears exactly when its transaction commits.

        Raises, and then nothing was written: InvalidPayload for arguments that cannot be stored or that the handler
        does not take, EnqueueRefused for everything else that is wrong. Raises DatabaseUnavailable.
        """
        target = target_of(job)
        options = checked(
            target.kind, queue=queue, priority=priority, run_at=run_at, tenant=tenant, max_attempts=max_attempts
        )
        key = None if unique_key is None else checked_key(target.kind, unique_key)
        text = target.encode(cast("A", args))
        self._check_open()
        return await enqueuer.Enqueuer(self._database, self._within, target, options, conn).one(text, key)

    @overload
    async def enqueue_many(
        self,
        job: Job[dict[str, V]],
        args: Iterable[Mapping[str, V]] | AsyncIterable[Mapping[str, V]],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: Callable[[dict[str, V]], str] | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> EnqueuedMany: ...
    @overload
    async def enqueue_many(
        self,
        job: Job[list[V]],
        args: Iterable[Sequence[V]] | AsyncIterable[Sequence[V]],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: Callable[[list[V]], str] | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> EnqueuedMany: ...
    @overload
    async def enqueue_many(
        self,
        job: Job[A] | str,
        args: Iterable[A] | AsyncIterable[A],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: Callable[[A], str] | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> EnqueuedMany: ...
    async def enqueue_many(  # noqa: PLR0913 - the same
        self,
        job: Job[A] | str,
        args: Iterable[A] | AsyncIterable[A],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: Callable[[A], str] | None = None,
        max_attempts: int | None = None,
        conn: Connection | None = None,
    ) -> EnqueuedMany:
        """Put many jobs of one kind in, which run in this order; `unique_key` makes each key from the arguments.

        A collection is checked as a whole before anything is written, and is enqueued as a whole or not at all. What
        can only be iterated is enqueued in chunks of 10,000, each checked before it is written, and each in a
        transaction of its own unless `conn` has one; the error says how many are enqueued. The rest is as for
        `enqueue`; a place in an error is one in `args`.
        """
        target = target_of(job)
        options = checked(
            target.kind, queue=queue, priority=priority, run_at=run_at, tenant=tenant, max_attempts=max_attempts
        )
        arguments = Arguments(target, args, unique_key)
        self._check_open()
        writer = enqueuer.Enqueuer(self._database, self._within, target, options, conn)
        if arguments.is_whole:
            return await writer.whole(await arguments.all())
        return await writer.stream(arguments)

    async def offer(self, *jobs: Job[A]) -> None:
        """Make kinds of jobs known that no worker has offered yet; `enqueue` does it by itself when it is needed."""
        self._check_open()
        await enqueuer.offer(self._database, self._within, *jobs)

    async def wait(self, job_id: int, within: float) -> JobStatus:
        """Wait until a job is over, and return its final state.

        Raises TimeoutError if it is not after `within` seconds, LookupError if there is no such job.
        """
        now = asyncio.get_running_loop().time
        deadline, pause = now() + limits.seconds("wait", "within", within), _FIRST_LOOK
        state = "unknown, since the database is out of reach,"
        self._check_open()
        while (left := deadline - now()) > 0:
            with contextlib.suppress(DatabaseUnavailable):
                found = await through(self._database, min(left, self._within), _look(job_id))
                if found is None:
                    raise LookupError(f"job {job_id}: no such job, live or in the history; compare the id")
                if found.is_final:
                    return found.status
                state = found.status
            await asyncio.sleep(min(pause, max(0.0, deadline - now())))
            pause = min(pause * _SLOWER, _SLOWEST)
        raise TimeoutError(f"job {job_id} is still {state} after {within:g} s")

    async def show(self, job_id: int) -> JobView | None:
        """Return everything that is known of a job, None if there is no such job, or no longer."""
        return await self._do(_look(job_id))

    async def cancel(self, job_id: int, reason: str | None = None) -> bool:
        """End a job as cancelled, also one that runs: its handler is cancelled; False: it was not live."""
        found = await self._do(lambda link, within: jobs.cancel(link, [job_id], reason, within=within))
        return bool(found)

    async def retry(self, job_id: int) -> RetriedJob:
        """Let a job run again that failed or was ended, under its id; one that waits for its time runs at once."""
        (found,) = await self._do(lambda link, within: jobs.retry(link, [job_id], within=within))
        return found

    async def _do(self, work: Callable[[Link, float], Awaitable[T]]) -> T:
        self._check_open()
        return await through(self._database, self._within, work)

    def _check_open(self) -> None:
        if not self._is_open:
            raise NotRunning("Client: not open; write `async with Client(dsn) as client`, or await client.open() first")


def _look(job_id: int) -> Callable[[Link, float], Awaitable[JobView | None]]:
    return lambda link, within: jobs.show(link, job_id, within=within)


def _url(dsn: str | None) -> str:
    found = os.environ.get("DATABASE_URL", "") if dsn is None else dsn
    if not isinstance(found, str):
        raise ConfigError(f"Client: dsn is a {type(found).__name__}: must be a text, postgresql://user@host/database")
    if not found:
        raise ConfigError(
            "Client: no database is named: pass dsn, or set DATABASE_URL, as postgresql://user@host:port/database"
        )
    return found
