"""Answers HTTP: starts the thread that does, and tells it what this process is doing."""

from __future__ import annotations

import asyncio
import logging
import resource
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Never

from actors.going_down import going_down
from actors.web_thread import WebThread
from supervisor.errors import ConfigError, DatabaseUnavailable, SupervisorError
from supervisor.store import tokens
from supervisor.tree.actor import Actor
from supervisor.web.hosts import is_loopback
from supervisor.web.listening import Listening, Waiting
from supervisor.web.live import TICK, Live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from supervisor.jobs.lease import Lease
    from supervisor.jobs.outbox import Outbox
    from supervisor.jobs.slots import Slots
    from supervisor.jobs.switches import Switches
    from supervisor.store.database import Database
    from supervisor.store.link import Link
    from supervisor.tree.snapshot import NodeSnapshot
    from supervisor.web.live import LiveBoard
    from supervisor.web.route import AnyRoute
    from supervisor.web.site import WebSettings

FILES: Final = 4096
"""Files that the process should be able to open, if the system lets it: each connection is one."""
LOOK: Final = 4
"""Turns of the main loop for each look at the tree."""

_log = logging.getLogger(__name__)


class WebActor(Actor[Never]):
    """Keeps the thread going that serves, and `board` up to date; a thread that has died is an error.

    An address that cannot be had is waited for. A server that others than this machine can reach asks for tokens, and
    the first start fails with ConfigError where nobody has one.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it tells of
        self,
        database: Database,
        board: LiveBoard,
        lease: Lease,
        slots: Slots,
        outbox: Outbox,
        switches: Switches,
        *,
        settings: WebSettings,
    ) -> None:
        self._database = database
        self._board = board
        self._lease = lease
        self._slots = slots
        self._outbox = outbox
        self._switches = switches
        self._settings = settings
        self._draining = False
        self._tree: NodeSnapshot | None = None

    async def setup(self) -> None:
        """Start the thread. Raises ConfigError."""
        await self._check_tokens()
        _open_more_files()
        await self.enter(going_down(self._life.runtime, self.path, self._go_down))
        self._board.turn()
        await self.enter(self._serving())

    async def run(self) -> None:
        """Say again and again that the main loop turns, and what there is to know."""
        turns = 0
        async for _ in self.every(TICK):
            if turns % LOOK == 0 and self._life.runtime.look is not None:
                self._tree = self._life.runtime.look()
            turns += 1
            self._show()
            if self._over.done():
                raise SupervisorError("the thread that serves HTTP has died; what it raised is on stderr")

    def _show(self) -> None:
        self._board.turn()
        self._board.shown = Live(
            worker=self._lease.worker,
            lease_until=self._lease.trusted_until,
            draining=self._draining,
            outage=self._database.outage.is_on,
            slots=self._slots.total,
            free=self._slots.free,
            unwritten=len(self._outbox),
            epoch=self._switches.now.epoch,
            tree=self._tree,
        )

    async def _check_tokens(self) -> None:
        host = self._settings.host
        if is_loopback(host):
            return
        try:
            async with self._database.connection() as link:
                exists = await tokens.any_valid(link)
        except DatabaseUnavailable:
            return  # it lets nobody in until it has looked at their token
        if not exists:
            raise ConfigError(
                f"http_host = {host!r}: others than this machine can reach it, and nobody has a token\n"
                "  remedy: python -m supervisor tokens create NAME --role admin, or set http_host = 127.0.0.1"
            )
        _log.warning("HTTP at %s is not encrypted: put a proxy with TLS in front of it", host)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        """Keep the thread going for as long as the actor lives."""
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = loop.create_future()
        thread = WebThread(
            self._settings,
            self._board,
            self._open_link,
            _routes,
            partial(_post, loop, self._hear),
            partial(_post, loop, self._over.set_result, None),
        )
        thread.start()
        try:
            yield
        finally:
            thread.finish()
            await asyncio.wait([self._over])
            thread.join()

    async def _open_link(self, within: float) -> Link:
        return await self._database.dedicated("http", within=within)

    def _hear(self, news: Listening | Waiting) -> None:
        """Take news from the thread, on the loop."""
        match news:
            case Listening(url):
                _log.info("HTTP: listening at %s", url)
            case Waiting(address, reason):
                _log.warning(
                    "HTTP: %s cannot be bound: %s; trying again until it is free. Another http_port, or 0 for any, "
                    "gives this process one of its own",
                    address,
                    reason,
                )

    def _go_down(self) -> None:
        self._draining = True
        self._show()


def _routes() -> Sequence[AnyRoute]:
    from supervisor.web.routes import ROUTES  # noqa: PLC0415 - in the thread: see `serve`

    return ROUTES


def _open_more_files() -> None:
    """Raise the limit on open files, which is often 1024, as far as is allowed and of use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    """Call back on the loop, from another thread; a loop that has ended needs no news."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)
