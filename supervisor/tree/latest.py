"""A value that many follow: each sees the newest, nobody slows the writer down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def changes(self) -> Changes[T]:
        """Iterate over the present value, then each newer one that is there when the follower comes back."""
        return Changes(self)

    async def until(self, wanted: Callable[[T], bool]) -> T:
        """Return the first value that is seen, present or to come, for which `wanted` is true.

        Like every follower it may miss a value that is replaced at once.
        """
        while not wanted(self._value):
            await self.next_change()
        return self._value

    @property
    def version(self) -> int:
        """How many values there have been before this one."""
        return self._version

    async def next_change(self) -> None:
        """Wait until there is a newer value."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        # All followers share one future, so a cancelled one must leave it whole: wait, do not await it.
        await asyncio.wait((self._changed,))


class Changes(Generic[T]):
    """Iterator behind `Latest.changes`. A class, not an async generator: nothing is left open on `break`."""

    __slots__ = ("_latest", "_seen")

    def __init__(self, latest: Latest[T]) -> None:
        self._latest = latest
        self._seen = -1

    def __aiter__(self) -> Changes[T]:
        return self

    async def __anext__(self) -> T:
        while self._seen == self._latest.version:
            await self._latest.next_change()
        self._seen = self._latest.version
        return self._latest.value
