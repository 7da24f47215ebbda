"""Runs one server from its own event loop: binds the address as soon as it is free, serves, and comes to an end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from supervisor.store.link import Link
    from supervisor.web.health import Judge
    from supervisor.web.live import LiveBoard
    from supervisor.web.route import AnyRoute
    from supervisor.web.server import Server
    from supervisor.web.site import WebSettings

AGAIN: Final = 1.0
"""Seconds between two attempts to bind an address that another process has."""
BACKLOG: Final = 1024
LAST: Final = 0.2
"""Seconds that requests have which are under way at the end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """The server answers here."""

    url: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The address cannot be had, for this reason; it is tried again until it can."""

    address: str
    reason: str


async def serve(  # noqa: PLR0913, PLR0917 - what a server needs, and whom it tells
    settings: WebSettings,
    board: LiveBoard,
    open_link: Callable[[float], Awaitable[Link]],
    judge: Judge,
    routes: Callable[[], Sequence[AnyRoute]],
    tell: Callable[[Listening | Waiting], None],
) -> None:
    """Serve until cancelled. `tell` hears where it listens, and once why it does not yet."""
    # Loaded here, in the server's own thread: it is a third of what a worker loads, and no job waits for it.
    from supervisor.web.server import Server  # noqa: PLC0415
    from supervisor.web.site import Site  # noqa: PLC0415

    site = Site(settings, board, open_link, judge)
    server = Server(site, routes())
    try:
        async with anyio.create_task_group() as group, _bound(server, settings, tell):
            group.start_soon(server.refused.write)
            await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(2 * LAST):
            await server.connections.shutdown(LAST)
        await site.close()


@asynccontextmanager
async def _bound(
    server: Server, settings: WebSettings, tell: Callable[[Listening | Waiting], None]
) -> AsyncIterator[None]:
    """Listen for the length of a block."""
    loop = asyncio.get_running_loop()
    told = False
    while True:
        try:
            bound = await loop.create_server(server.connections, settings.host, settings.port, backlog=BACKLOG)
            break
        except OSError as error:
            if not told:
                tell(Waiting(_shown(settings.host, settings.port), _why(error)))
                told = True
        await anyio.sleep(AGAIN)
    try:
        tell(Listening(f"http://{_shown(settings.host, bound.sockets[0].getsockname()[1])}"))
        yield
    finally:
        bound.close()


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process has it"
    return os.strerror(error.errno) if error.errno else str(error)
