"""Writes checked jobs to the database: one, many as a whole, or a stream of chunks."""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from supervisor.errors import DatabaseUnavailable, EnqueueRefused, StatementRefused
from supervisor.jobs.bulk import CHUNK
from supervisor.jobs.enqueue_failure import Extent, of_many, of_one
from supervisor.jobs.enqueue_path import OnConnection, through
from supervisor.jobs.enqueue_target import kind_of, unknown_kind
from supervisor.jobs.enqueued import Enqueued, EnqueuedMany
from supervisor.store import enqueue, enqueue_copy, kinds
from supervisor.store.enqueue import OnLink
from supervisor.store.link import Link
from supervisor.telemetry.job_spans import sending, trace_parent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from supervisor.jobs.bulk import Arguments, Chunk
    from supervisor.jobs.context import Connection
    from supervisor.jobs.enqueue_target import Target
    from supervisor.jobs.job import Job
    from supervisor.store.database import Database
    from supervisor.store.enqueue import JobOptions

    Written: TypeAlias = tuple[Sequence[int], int]  # the ids, and how many of the jobs are new
    Work: TypeAlias = Callable[[Link | OnConnection, float], Awaitable["T"]]

A = TypeVar("A")
T = TypeVar("T")

COPY_FROM: Final = 100
"""Jobs from which on COPY, in spite of its round trips, takes less time than one call of the function."""


class _UnknownKind(Exception):
    """Nobody ever offered the kind; nothing was written."""


class Enqueuer(Generic[A]):
    """Writes jobs of one kind, all with the same options.

    It goes through the pool, or on the connection of the caller's transaction. `within` is in seconds: for a link of
    the pool and one statement, and for each further statement.
    """

    __slots__ = ("_conn", "_database", "_options", "_target", "_within")

    def __init__(
        self, database: Database, within: float, target: Target[A], options: JobOptions, conn: Connection | None
    ) -> None:
        self._database = database
        self._within = within
        self._target = target
        self._options = options
        self._conn = None if conn is None else OnConnection(conn, database.schema, within)

    async def one(self, text: str, key: str | None) -> Enqueued:
        """Write one job."""
        with sending(self._target.destination) as span:
            parent = trace_parent()

            async def put(path: Link | OnConnection, within: float) -> tuple[int, bool]:
                found = await enqueue.one(_fetches(path, within), self._target.kind, text, self._options, key, parent)
                if found is None:
                    raise _UnknownKind
                return found

            try:
                job, created = await self._with_known_kind(put)
            except (DatabaseUnavailable, StatementRefused) as error:
                told = of_one(error, keyed=key is not None, on_conn=self._conn is not None)
                if told is error:
                    raise
                raise told from error
            if span is not None:
                span.sent(job)
            return Enqueued(job, created)

    async def whole(self, jobs: Chunk) -> EnqueuedMany:
        """Write all of them, or none."""
        if self._conn is not None and len(jobs) > CHUNK and not self._conn.is_in_transaction:
            raise EnqueueRefused(
                f"conn has no open transaction, so that {len(jobs)} jobs could be enqueued in part; "
                "write `async with conn.transaction()` around the call"
            )
        found = _Tally()
        with self._told(found, jobs):
            await self._write(jobs, found)
        return found.result()

    async def stream(self, arguments: Arguments[A]) -> EnqueuedMany:
        """Write chunk by chunk, each in a transaction of its own unless the caller has one."""
        found = _Tally()
        with self._told(found):
            jobs = await arguments.chunk()
        while jobs:
            jobs = await self._write_and_encode(jobs, found, arguments)
        return found.result()

    async def _write_and_encode(self, jobs: Chunk, found: _Tally, arguments: Arguments[A]) -> Chunk:
        """Write a chunk and return the next, encoded meanwhile; not on conn, from which arguments may come."""
        if self._conn is not None:
            with self._told(found, jobs):
                await self._write(jobs, found)
            with self._told(found):
                return await arguments.chunk()
        wrote, following = await asyncio.gather(self._write(jobs, found), arguments.chunk(), return_exceptions=True)
        with self._told(found, jobs):
            _returned(wrote)
        with self._told(found):
            return _returned(following)

    async def _write(self, jobs: Chunk, found: _Tally) -> None:
        if not jobs:
            return
        with sending(self._target.destination, len(jobs)):
            parent = trace_parent()

            async def put(path: Link | OnConnection, within: float) -> list[Written]:
                return await self._put(path, within, jobs, parent)

            for ids, created in await self._with_known_kind(put):
                found.add(ids, created)

    async def _put(self, path: Link | OnConnection, within: float, jobs: Chunk, parent: str | None) -> list[Written]:
        copied = jobs.keys is None and self._options.is_immediate and len(jobs) >= COPY_FROM
        if isinstance(path, Link) and (copied or len(jobs) > CHUNK):
            async with path.transaction(within=within):
                return [await self._part(path, within, part, parent, copied=copied) for part in jobs.parts()]
        return [await self._part(path, within, part, parent, copied=False) for part in jobs.parts()]

    async def _part(
        self, path: Link | OnConnection, within: float, jobs: Chunk, parent: str | None, *, copied: bool
    ) -> Written:
        kind, options = self._target.kind, self._options
        if copied and isinstance(path, Link):
            ids = await enqueue_copy.copy(path, kind, jobs.texts, options, parent, within=within)
            if ids is None:
                raise _UnknownKind
            return ids, len(ids)
        rows = await enqueue.many(_fetches(path, within), kind, jobs.texts, options, jobs.keys, parent)
        if rows is None:
            raise _UnknownKind
        return [row[0] for row in rows], sum(row[1] for row in rows)

    async def _with_known_kind(self, work: Work[T]) -> T:
        """Do the work, if need be again after the job was made known."""
        try:
            return await self._somewhere(work)
        except _UnknownKind:
            if self._target.job is not None:
                await offer(self._database, self._within, self._target.job)
                with contextlib.suppress(_UnknownKind):
                    return await self._somewhere(work)
            known = await through(self._database, self._within, _listed)
            raise unknown_kind(self._target, known) from None

    async def _somewhere(self, work: Work[T]) -> T:
        if self._conn is None:
            return await through(self._database, self._within, work)
        return await work(self._conn, self._within)

    @contextlib.contextmanager
    def _told(self, found: _Tally, jobs: Chunk | None = None) -> Iterator[None]:
        """Say in an error what is in the database; `jobs` were being written."""
        try:
            yield
        except Exception as error:
            keyed = jobs is not None and jobs.keys is not None
            tried = 0 if jobs is None else len(jobs)
            told = of_many(error, Extent(len(found), tried, keyed=keyed, on_conn=self._conn is not None))
            if told is error:
                raise
            raise told from error


class _Tally:
    """What was written so far; eight bytes for each job."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._created = 0

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[int], created: int) -> None:
        self._ids.extend(ids)
        self._created += created

    def result(self) -> EnqueuedMany:
        return EnqueuedMany(len(self._ids), self._created, self._ids)


async def offer(database: Database, within: float, *jobs: Job[A]) -> None:
    """Make kinds known that are not; what workers said about them stands."""

    async def work(link: Link, left: float) -> None:
        await kinds.offer(link, [kind_of(job) for job in jobs], replace=False, within=left)

    await through(database, within, work)


async def _listed(link: Link, within: float) -> list[str]:
    return [known.kind for known in await kinds.listed(link, within=within)]


def _fetches(path: Link | OnConnection, within: float) -> OnLink | OnConnection:
    return OnLink(path, within) if isinstance(path, Link) else path


def _returned(result: T | BaseException) -> T:
    if isinstance(result, BaseException):
        raise result
    return result
