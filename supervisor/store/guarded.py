"""The deadline of a call on a connection, and the one way to end a connection from outside whatever it is doing.

asyncpg cannot keep a deadline when the other side falls silent, so ours stands outside of it: at the deadline the
socket is shut down, which ends the call, and the connection is of no more use. The same happens when a call is
cancelled. A timer is set once and moved only when it fires, so a call that ends in time costs no timer at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import asyncpg

from supervisor.errors import DatabaseUnavailable
from supervisor.store.failures import READ_ONLY, leaves_doubt, refused_by_asyncpg, refused_by_server, said

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.store.session import Session

LAST_CHANCE: Final = 0.01
"""Seconds after a deadline in which an answer that has arrived already, while the loop was busy, is still read."""

_T = TypeVar("_T")


class Guarded:
    """A connection with deadlines; it belongs to the event loop in which it is made."""

    def __init__(self, session: Session) -> None:
        self.expired = False
        """A call reached its deadline: whatever else goes the same way deserves no trust."""
        self._session: Final = session
        self._loop: Final = asyncio.get_running_loop()
        self._killing: Final = threading.Lock()
        # Our own descriptor of the socket: asyncpg's may be closed, and its number taken, while we shut it down.
        self._socket: socket.socket | None = socket.socket(fileno=os.dup(session.socket.fileno()))
        self._deadline: float | None = None
        self._within = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._warned: float | None = None  # the deadline that has had its last chance
        self._revocable = False  # in a transaction of ours, where nothing is done before COMMIT
        session.on_given_up = self.kill

    @property
    def is_broken(self) -> bool:
        """Whether this connection is of no more use."""
        return self._is_lost or self._session.given_up

    @property
    def _is_lost(self) -> bool:
        return self._socket is None or self._session.is_closed()

    def kill(self) -> None:
        """End the connection at once, from any thread, whatever it is doing; a call under way ends with an error."""
        with self._killing:
            ours, self._socket = self._socket, None
            if ours is not None:
                with contextlib.suppress(OSError):  # the other side was first
                    ours.shutdown(socket.SHUT_RDWR)
                ours.close()
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001 - the public one raises where none runs
            self._drop()
        elif ours is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the connection with it
                self._loop.call_soon_threadsafe(self._drop)

    async def close(self, within: float = 2.0) -> None:
        """Say goodbye to the server and close the connection; after that many seconds, end it."""
        try:
            if not self.is_broken and self._deadline is None:
                await self._session.close(timeout=within)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # it ends without a goodbye
        finally:
            self.kill()

    async def _call(self, call: Callable[[], Awaitable[_T]], within: float, spare: float = 0.0) -> _T:
        """Run one call within its time; with some to `spare` if it keeps the time itself as far as it can."""
        self._begin(within + spare)
        self._within = within
        try:
            result = await call()
        except BaseException as error:
            self._fail(error)
            raise
        self._end()
        return result

    def _begin(self, within: float) -> None:
        if self._deadline is not None:
            raise RuntimeError("a connection can do one thing at a time, and this one is still at work")
        if self.is_broken:
            self.kill()
            raise DatabaseUnavailable("the connection to the database was lost before this call")
        self._within = within
        # Not the loop's own time, which stands still while a callback runs.
        now = monotonic()
        self._deadline = deadline = now + within
        if deadline < self._due:
            self._set_timer(within, deadline)

    def _end(self) -> None:
        self._deadline = None
        if self._session.unreplicated:
            self._session.unreplicated = False
            raise DatabaseUnavailable("committed here, but perhaps not on the standby that it waited for", unknown=True)

    def _fail(self, error: BaseException) -> None:
        """Raise the error that callers know in place of this one, unless it is for them as it is."""
        self._deadline = None
        self._session.unreplicated = False
        unknown = not self._revocable
        if not isinstance(error, Exception):
            self.kill()
        elif isinstance(error, asyncpg.PostgresError) and not self._is_lost:
            doubt = leaves_doubt(error)
            if doubt or error.sqlstate == READ_ONLY:
                self.kill()  # another connection may lead to a server that takes writes
            raise refused_by_server(error, unknown=unknown and doubt) from None
        elif self.expired:
            self.kill()
            raise DatabaseUnavailable(
                f"the database did not answer within {self._within:g} s", unknown=unknown
            ) from None
        elif self._is_lost:
            self.kill()
            raise DatabaseUnavailable(
                f"the connection to the database was lost: {said(error)}", unknown=unknown
            ) from None
        elif isinstance(error, asyncpg.InterfaceError):
            raise refused_by_asyncpg(error) from None
        else:
            self.kill()
            if isinstance(error, asyncpg.InternalClientError):
                raise DatabaseUnavailable(f"the server is not understood: {said(error)}", unknown=unknown) from None

    def _set_timer(self, seconds: float, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._due = None, math.inf
        deadline = self._deadline
        if deadline is None:
            return
        left = deadline - monotonic()
        if left > 0.0:
            self._set_timer(left, deadline)
        elif self._warned != deadline:
            self._warned = deadline
            self._set_timer(LAST_CHANCE, deadline)
        else:
            self._loop.call_soon(self._expire, deadline)  # behind whoever has just got an answer

    def _expire(self, deadline: float) -> None:
        if self._deadline == deadline:
            self.expired = True
            self.kill()

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, math.inf
        self._session.terminate()
