"""The time limits of asks: one timer for all of them.

A timer of its own would cost each ask 1.9 µs on uvloop (call_later and cancel), half of a whole round
trip; an entry here costs a tenth of that.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from supervisor.errors import AskTimeout

if TYPE_CHECKING:
    import asyncio

    from supervisor.tree.clock import Clock
    from supervisor.tree.mailbox import Mailbox

ASK_TIMEOUT: Final = 5.0
"""Seconds that an ask waits unless its ref says otherwise."""

_FIRST_SWEEP: Final = 1024


class Asks:
    """The asks with one limit, oldest first, so that the next to expire stands at the head."""

    __slots__ = ("_clock", "_entries", "_expiry", "_limit", "_loop", "_now", "_sweep_at")

    def __init__(self, expiry: Expiry, clock: Clock, limit: float) -> None:
        self._expiry = expiry
        self._clock = clock
        self._now = clock.now
        self._limit = limit
        self._entries: deque[tuple[float, asyncio.Future[Any], Mailbox[Any]]] = deque()
        self._sweep_at = _FIRST_SWEEP
        # The loop whose timer is set; None while none is.
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], asked: Mailbox[Any]) -> None:
        """Fail `future` with AskTimeout when the limit has passed and it is not done."""
        entries = self._entries
        # Most asks are answered before the next one is made: the list stays short.
        if entries:
            if entries[-1][1].done():
                entries.pop()
            elif len(entries) >= self._sweep_at:
                self._entries = entries = deque(entry for entry in entries if not entry[1].done())
                self._sweep_at = max(_FIRST_SWEEP, 2 * len(entries))
        entries.append((self._now() + self._limit, future, asked))
        if self._loop is not loop:
            self._loop = loop
            self._clock.call_later(self._limit, self._expire)

    def _expire(self) -> None:
        entries, now = self._entries, self._now()
        while entries and (entries[0][1].done() or entries[0][0] <= now):
            _, future, asked = entries.popleft()
            if not future.done():
                future.set_exception(AskTimeout(f"{asked.path} did not answer within {self._limit:g} s"))
        if entries:
            self._clock.call_later(entries[0][0] - now, self._expire)
            return
        self._loop = None
        if self._limit != ASK_TIMEOUT:
            # Limits may be computed, each a little different: one that is over leaves nothing behind.
            self._expiry.pop(self._limit, None)


class Expiry(dict[float, Asks]):
    """The asks of one tree by their limit in seconds, made on demand."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def __missing__(self, limit: float) -> Asks:
        asks = self[limit] = Asks(self, self._clock, limit)
        return asks
