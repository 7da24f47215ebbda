"""A value that many follow: each sees the newest, nobody slows the writer down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")


class Latest(Generic[T]):
    """Broadcast of the latest value. A slow follower skips values; it never queues them."""

    __slots__ = ("_changed", "_value", "_version")

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed: asyncio.Future[None] | None = None

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Publish a new value and wake everyone who follows."""
        self._value = value
        self._version += 1
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(None)

    async def changes(self) -> AsyncIterator[T]:
        """Yield the present value, then each newer one that is there when the follower comes back."""
        seen = -1
        while True:
            while seen == self._version:
                await self._next_change()
            seen = self._version
            yield self._value

    async def until(self, wanted: Callable[[T], bool]) -> T:
        """Return the first value that is seen, present or to come, for which `wanted` is true.

        Like every follower it may miss a value that is replaced at once.
        """
        while not wanted(self._value):
            await self._next_change()
        return self._value

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        # All followers share one future, so a cancelled one must leave it whole: wait, do not await it.
        await asyncio.wait((self._changed,))
