"""The HTTP connections: aiohttp's own, but nobody can hold one for ever, nor so many that none are left.

What cannot even be parsed gets the same form of answer as every other error.
"""

from __future__ import annotations

import logging
import resource
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from supervisor.web.refusal import Refusal, bad_request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

IDLE: Final = 120.0
"""Seconds for which a connection is kept on which nothing is asked."""
HEAD: Final = 10.0
"""Seconds in which the head of a request must have come once it has begun."""
MOST: Final = 4096
"""Connections at once; fewer where the process may have few files open."""
SPARE: Final = 0.75
"""The part of those files that connections may take: the work must go on."""

_log = logging.getLogger(__name__)


class Connection(RequestHandler):
    """One connection."""

    def __init__(self, server: Connections, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(server, **options)
        self._server = server
        self._head: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room, if there is none left."""
        super().connection_made(transport)
        self._server.make_room(self)

    def data_received(self, data: bytes) -> None:
        """Read on; what has begun must come to an end."""
        super().data_received(data)
        if self._messages or self._request_in_progress:
            self._forget_head()
        elif self._head is None:
            self._head = self._loop.call_later(HEAD, self._late)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio wants to know whether to go on
        """Answer what has come as a whole, though nothing more will come; then close."""
        request = self._current_request
        bodies = [body for _, body in self._messages] + ([] if request is None else [request.content])
        if self.is_idle or not all(body.is_eof() for body in bodies):
            return False
        self._close = True
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget what was to come."""
        self._forget_head()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote what was sent
    ) -> web.StreamResponse:
        """Answer what could not be parsed, or what our own handler failed to answer."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way already")
        if status == HTTPStatus.BAD_REQUEST:
            refusal = bad_request("bad_http", "the request is not HTTP as this server reads it")
        else:
            _log.error("a request could not be answered", exc_info=exc)
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something went wrong here")
        response = self._server.refuse(refusal)
        response.force_close()
        return response

    def _late(self) -> None:
        self._head = None
        if not self._messages and not self._request_in_progress:
            self.force_close()

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class Connections(web.Server):
    """All connections of one server; `refuse` makes the answer of an error."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        refuse: Callable[[Refusal], web.StreamResponse],
    ) -> None:
        super().__init__(handler)
        self.refuse: Final = refuse
        self._most: Final = min(MOST, int(SPARE * resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(
            self,
            loop=self._loop,
            keepalive_timeout=IDLE,
            access_log=None,
            logger=_log,
            auto_decompress=False,
            lingering_time=2.0,
        )

    def make_room(self, newest: Connection) -> None:
        """Close the oldest connection on which nobody asks anything, or else the newest, if there are too many."""
        if len(self._connections) <= self._most:
            return
        idle = (each for each in self._connections if each is not newest and isinstance(each, Connection))
        next((each for each in idle if each.is_idle), newest).force_close()
