"""What a client of the queue is connected with, and what it can ask about jobs that are in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, Self, TypeVar

from supervisor.errors import ConfigError, DatabaseUnavailable, NotRunning
from supervisor.jobs import limits
from supervisor.jobs.enqueue_path import through
from supervisor.store import control, jobs
from supervisor.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from supervisor.store.control_rows import SafetyCheck
    from supervisor.store.job_rows import JobStatus, JobView, RetriedJob
    from supervisor.store.link import Link

T = TypeVar("T")

_FIRST_LOOK: Final = 0.005
_SLOWER: Final = 1.5
_SLOWEST: Final = 0.5


class ClientSession:
    """A pool of connections that is open for a block, and the jobs behind it."""

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

    async def safety_check(  # noqa: PLR0913 - the properties of the work, all by keyword
        self,
        *,
        service: str | None = None,
        tenant: str | None = None,
        requires_changes: bool = True,
        queue: str | None = None,
        kind: str | None = None,
        essential: bool = False,
    ) -> SafetyCheck:
        """Ask whether such work may be done now, whoever does it: the question that each claim of a job asks.

        None: it belongs to no service, tenant, queue or kind. Raises DatabaseUnavailable.
        """
        return await self._do(
            lambda link, within: control.safety_check(
                link,
                service,
                tenant,
                requires_changes=requires_changes,
                queue=queue,
                kind=kind,
                essential=essential,
                within=within,
            )
        )

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
