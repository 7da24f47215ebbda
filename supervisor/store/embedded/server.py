"""The embedded PostgreSQL as asyncio code sees it: start, stop, and the DSN to connect to."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import anyio

from supervisor.errors import DatabaseStartFailed, NotRunning
from supervisor.store.embedded.cluster import Cluster
from supervisor.store.embedded.configuration import SUPERUSER, checked
from supervisor.store.embedded.folder import PORT, default_data_dir
from supervisor.store.embedded.limit import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from supervisor.store.embedded.start import Joined

T = TypeVar("T")

_GRACE: Final = 12.0
"""Seconds that work in a thread gets beyond its limit: PostgreSQL's own limit for a stop at once is 5 s."""


class EmbeddedPostgres:
    """A PostgreSQL server for a process that was given no database URL; several processes share one.

    The first to start it starts it, the last to stop it stops it. It survives us when we are killed, and the next
    process goes on with it. It listens on a socket only, which is closed to other OS users.

    `data_dir` is created as needed (default: /var/lib/supervisor for root, else below the user's home). `bindir` holds
    PostgreSQL's programs (default: the best that are found). `settings` are PostgreSQL's own, for the one who starts
    the server. `progress` is called with a line of text for each step, and each second of a wait. Limits are in
    seconds. Raises ConfigError for settings that cannot be used.
    """

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        data_dir: Path | None = None,
        *,
        bindir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
        stop_timeout: float = 10.0,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.data_dir = default_data_dir(os.environ) if data_dir is None else data_dir
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._progress = progress
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cluster = Cluster(self.data_dir, bindir, checked(settings or {}), self._report)
        self._joined: Joined | None = None

    @property
    def dsn(self) -> str:
        """The URL of the database, without a secret: the server knows our OS user. Raises NotRunning."""
        # The port is named because a client would else take it from the variable PGPORT.
        return f"postgresql://{SUPERUSER}@/{SUPERUSER}?host={quote(str(self.socket_dir), safe='/')}&port={PORT}"

    @property
    def socket_dir(self) -> Path:
        """The folder of the server's socket. Raises NotRunning."""
        return self._server().socket_dir

    @property
    def major(self) -> int:
        """The major version of the server. Raises NotRunning."""
        return self._server().major

    @property
    def pid(self) -> int:
        """The process id of the server. Raises NotRunning."""
        return self._server().pid

    @property
    def log(self) -> Path:
        """The file that the server writes its log to. Raises NotRunning."""
        return self._server().log

    @property
    def attached(self) -> bool:
        """Whether the last start found the server running. Raises NotRunning."""
        return not self._server().started

    async def start(self) -> None:
        """Return when the server is ready. Called again, it revives a server that has died.

        Cancelled, it leaves nothing half-made: a server it launched ends, and so does a database half created. A
        server that still recovers from a crash when the time is up goes on, for the next start to find.
        Raises ConfigError, DatabaseStartFailed, and DatabaseStartTimeout after `start_timeout`.
        """
        limit = Limit(self._start_timeout)
        work = self._in_thread(self._cluster.join, limit)
        try:
            self._joined = await self._end_of(work, limit)
        except asyncio.CancelledError:
            limit.cancel()
            # It waits in line behind the start, and gives back what that may still have taken.
            undo = self._in_thread(self._cluster.leave, Limit(self._stop_timeout))
            self._joined = None
            with anyio.move_on_after(_GRACE, shield=True):
                await asyncio.wait([undo])
            raise

    async def stop(self) -> bool:
        """Stop using the server; the last user ends it. Return whether it has ended; harmless if not started.

        It stops cleanly within `stop_timeout`, and at once after that or when this is cancelled: then the next start
        recovers, and no committed row is lost. Raises DatabaseStartFailed if the server survives.
        """
        self._joined = None
        limit = Limit(self._stop_timeout)
        work = self._in_thread(self._cluster.leave, limit)
        try:
            return await self._end_of(work, limit)
        except asyncio.CancelledError:
            limit.cancel()
            with anyio.move_on_after(_GRACE, shield=True):
                await asyncio.wait([work])
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A cancelled body is no reason to make the next start recover; the stop has its own limit.
        with anyio.CancelScope(shield=True):
            await self.stop()

    def _server(self) -> Joined:
        if self._joined is None:
            raise NotRunning("the embedded PostgreSQL has not been started: await start() first")
        return self._joined

    def _in_thread(self, work: Callable[[Limit], T], limit: Limit) -> asyncio.Future[T]:
        """Begin work in a thread of its own, so that a program with all its threads busy can still stop."""
        self._loop = asyncio.get_running_loop()
        executor = ThreadPoolExecutor(1, "embedded-postgres")
        future = self._loop.run_in_executor(executor, work, limit)
        executor.shutdown(wait=False)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may be gone by then
        return future

    async def _end_of(self, work: asyncio.Future[T], limit: Limit) -> T:
        """Wait for work without cancelling it when we are cancelled. It keeps its limit unless the system hangs."""
        await asyncio.wait([work], timeout=limit.seconds + _GRACE)
        if not work.done():
            limit.cancel()
            raise DatabaseStartFailed(
                f"the system did not answer within {limit.seconds + _GRACE:g} s; is the disk of "
                f"{str(self.data_dir)!r} available?"
            )
        return work.result()

    def _report(self, text: str) -> None:
        """Pass a line from the thread to the loop, if that still runs."""
        if self._progress is not None and self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._progress, text)
