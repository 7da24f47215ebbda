"""A coalescing wake-up: many sets, one wake. For hints such as NOTIFY, always beside a poll."""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes its waiters; sets that arrive while nobody waits are remembered as one."""

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return self._set

    def set(self) -> None:
        """Wake every waiter, or the next one to come. Call it on the event loop's thread."""
        self._set = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Forget a set that nobody has seen."""
        self._set = False

    async def wait(self) -> None:
        """Return when the signal is set, and clear it."""
        if not self._set:
            waiter = asyncio.get_running_loop().create_future()
            self.attach(waiter)
            try:
                await waiter
            finally:
                self.detach(waiter)
        # Cleared by the woken waiter itself: a wake-up that meets a cancel is not lost.
        self._set = False

    def attach(self, waiter: asyncio.Future[None]) -> None:
        """Resolve `waiter` at the next set, which stays remembered until `clear`."""
        if self._set:
            waiter.set_result(None)
        else:
            self._waiters.append(waiter)

    def detach(self, waiter: asyncio.Future[None]) -> None:
        """Take back `attach`."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
