"""Serves HTTP from a thread with an event loop and connections of its own.

A handler that blocks the main loop must not silence the process: whoever asks then hears that it is blocked. And what
people ask of the process does not delay its jobs.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from actors.web_health import judge
from supervisor.process.loop import new_loop
from supervisor.web.listening import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from supervisor.store.link import Link
    from supervisor.web.listening import Listening, Waiting
    from supervisor.web.live import LiveBoard
    from supervisor.web.route import AnyRoute
    from supervisor.web.site import WebSettings

LEFT: Final = 0.2
"""Seconds in which the last tasks must have ended."""


class WebThread(threading.Thread):
    """Serves until `finish`. In the thread, `tell` is called with where it listens, and `ended` at the end."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a server needs, and whom it tells
        self,
        settings: WebSettings,
        board: LiveBoard,
        open_link: Callable[[float], Awaitable[Link]],
        routes: Callable[[], Sequence[AnyRoute]],
        tell: Callable[[Listening | Waiting], None],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name="http")
        self._settings = settings
        self._board = board
        self._open_link = open_link
        self._routes = routes
        self._tell = tell
        self._ended = ended
        self._loop = new_loop()
        self._scope = anyio.CancelScope()

    def finish(self) -> None:
        """End soon; to be called from another thread."""
        with suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._scope.cancel)

    def run(self) -> None:
        """Serve until `finish`."""
        try:
            self._loop.run_until_complete(self._live())
            self._loop.run_until_complete(_end_tasks())
        finally:
            self._loop.close()
            self._ended()

    async def _live(self) -> None:
        with self._scope:
            await serve(self._settings, self._board, self._open_link, judge, self._routes, self._tell)


async def _end_tasks() -> None:
    """End what aiohttp has left of connections that were just lost."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=LEFT)
