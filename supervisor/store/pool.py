"""A pool of links: the one used last is lent first, a broken one is not taken back, and nobody waits without an end.

Nothing is asked of the server when a link changes hands. What has not been used for `IDLE` seconds is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from supervisor.store.link import Link

    Open = Callable[[float], Awaitable[Link]]

IDLE: Final = 30.0
"""Seconds after which a link that nobody used is closed."""

PATIENCE: Final = 0.02
"""Seconds to wait for a link that is lent, before another is opened: most loans are for one statement."""


@dataclass(frozen=True, slots=True)
class _Loan:
    holder: str
    since: float


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How a pool is used: links that are lent and idle, who waits for one, and the most that there may be."""

    lent: int
    idle: int
    waiting: int
    most: int


class Pool:
    """At most `most` links, each made when it is needed by `open_link`, which gets the seconds it may take."""

    def __init__(self, open_link: Open, most: int) -> None:
        self._open: Final = open_link
        self._most: Final = most
        self._now: Final = asyncio.get_running_loop().time
        self._count = 0  # lent, idle, or being opened
        self._idle: Final[deque[tuple[Link, float]]] = deque()
        self._lent: Final[dict[Link, _Loan]] = {}
        self._waiting: Final[deque[asyncio.Future[Link | None]]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Pool lent={len(self._lent)} idle={len(self._idle)} count={self._count} most={self._most}>"

    @property
    def count(self) -> int:
        """How many links there are, with those being opened."""
        return self._count

    @property
    def idle(self) -> int:
        """How many links wait to be lent."""
        return len(self._idle)

    @property
    def use(self) -> PoolUse:
        """How it is used now; may be read from any thread."""
        return PoolUse(len(self._lent), len(self._idle), len(self._waiting), self._most)

    def lend(self, within: float) -> Lending:
        """Lend a link for the length of a block. Raises DatabaseUnavailable if there is none within that time."""
        return Lending(self, within)

    async def take(self, within: float) -> Link:
        """Return a link, which must be given back."""
        if self._closed:
            raise _closed()
        while self._idle:
            link, _ = self._idle.pop()
            if not link.is_broken:
                return self._lend(link)
            self._discard(link)
        deadline = self._now() + within
        if self._lent and self._count < self._most:
            try:
                return await self._given(min(self._now() + PATIENCE, deadline), deadline, within)
            except DatabaseUnavailable:
                if self._closed:
                    raise
        if self._count < self._most:
            self._count += 1
            return await self._opened(max(deadline - self._now(), 0.0))
        return await self._given(deadline, deadline, within)

    def give(self, link: Link) -> None:
        """Take a link back."""
        del self._lent[link]
        self._pass_on(link)
        if self._empty is not None and not self._lent:
            self._empty.set()

    async def close(self, within: float) -> None:
        """Close all links; those that are lent have so many seconds to come back before they are ended."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        self._end_idle()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(_closed())
        if self._lent:
            self._empty = asyncio.Event()
            try:
                async with asyncio.timeout(within):
                    await self._empty.wait()
            except TimeoutError:
                pass
            finally:
                for link in list(self._lent):
                    link.kill()

    async def _given(self, until: float, deadline: float, within: float) -> Link:
        """Return the next link that is given back, or one in the place of one that was lost."""
        link = await self._wait(until, within)
        return self._lend(link) if link is not None else await self._opened(max(deadline - self._now(), 0.0))

    async def _opened(self, within: float) -> Link:
        try:
            link = await self._open(within)
        except BaseException:
            self._leave_room()
            raise
        return self._lend(link)

    async def _wait(self, deadline: float, within: float) -> Link | None:
        """Return the next link that is given back, or None: there is room to open one."""
        waiter: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                try:
                    return await waiter
                except asyncio.CancelledError:
                    self._refuse(waiter)
                    raise
        except TimeoutError:
            raise DatabaseUnavailable(
                f"all {self._most} connections to the database were in use for {within:g} s: {self._holders()}"
            ) from None

    def _refuse(self, waiter: asyncio.Future[Link | None]) -> None:
        """Pass on what came for somebody who has just stopped waiting."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif not waiter.cancelled() and waiter.exception() is None:
            link = waiter.result()
            if link is None:
                self._leave_room()
            else:
                self._pass_on(link)

    def _lend(self, link: Link) -> Link:
        if self._closed:
            self._discard(link)
            raise _closed()
        task = asyncio.current_task()
        self._lent[link] = _Loan(task.get_name() if task is not None else "?", self._now())
        return link

    def _pass_on(self, link: Link) -> None:
        if self._closed or link.is_broken or link.is_in_transaction:
            self._discard(link)
        elif not self._serve(link):
            self._idle.append((link, self._now()))
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(IDLE, self._close_unused)

    def _serve(self, link: Link | None) -> bool:
        """Give a link, or room for one, to who has waited longest; say whether anybody waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return True
        return False

    def _leave_room(self) -> None:
        if not self._serve(None):
            self._count -= 1

    def _discard(self, link: Link) -> None:
        link.kill()
        if link.expired:
            self._end_idle()  # or each of them would cost somebody its own deadline
        self._leave_room()

    def _end_idle(self) -> None:
        while self._idle:
            link, _ = self._idle.popleft()
            link.kill()
            self._count -= 1

    def _close_unused(self) -> None:
        self._sweep = None
        unused = self._now() - IDLE
        while self._idle and self._idle[0][1] <= unused:
            link, _ = self._idle.popleft()
            link.kill()
            self._count -= 1
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_at(self._idle[0][1] + IDLE, self._close_unused)

    def _holders(self) -> str:
        now = self._now()
        held = sorted(self._lent.values(), key=lambda loan: loan.since)
        return ", ".join(f"{loan.holder} for {now - loan.since:.1f} s" for loan in held) or "all are being opened"


def _closed() -> DatabaseUnavailable:
    return DatabaseUnavailable("the connections to the database are closed")


class Lending:
    """One loan of a link, as a block."""

    __slots__ = ("_link", "_pool", "_within")

    def __init__(self, pool: Pool, within: float) -> None:
        self._pool = pool
        self._within = within
        self._link: Link | None = None

    async def __aenter__(self) -> Link:
        self._link = link = await self._pool.take(self._within)
        return link

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._pool.give(link)
