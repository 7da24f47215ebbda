"""The door to the queue for programs that are no workers: enqueue jobs, and ask what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

from supervisor.jobs import enqueuer
from supervisor.jobs.bulk import Arguments
from supervisor.jobs.client_session import ClientSession
from supervisor.jobs.enqueue_options import checked, checked_key
from supervisor.jobs.enqueue_target import target_of
from supervisor.jobs.enqueued import Enqueued, EnqueuedMany

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from supervisor.jobs.context import Connection
    from supervisor.jobs.job import Job

    Json: TypeAlias = Mapping[str, object] | Sequence[object] | str | float | bool | None

A = TypeVar("A")
V = TypeVar("V")

__all__ = ["Client", "Enqueued", "EnqueuedMany"]


class Client(ClientSession):
    """Enqueues jobs into a database: `async with Client(dsn) as client`. For one event loop, and any number of tasks.

    dsn: where the database is; by default what DATABASE_URL says. direct_dsn: if `dsn` leads through a pooler that
    gives each transaction another connection, the way past it. connections: how many there are at most. within: seconds
    that a call may take; in `enqueue_many`, one statement.

    Every method may raise DatabaseUnavailable; with `unknown` the database may have done it all the same.
    """

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
        job: Job[Any] | str,
        args: Iterable[Any] | AsyncIterable[Any],
        *,
        queue: str | None = None,
        priority: int = 0,
        run_at: datetime | float | None = None,
        tenant: str | None = None,
        unique_key: Callable[[Any], str] | None = None,
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
