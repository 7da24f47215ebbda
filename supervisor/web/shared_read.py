"""Answers many who ask the same at once with one question to the database.

Who asks gets what was read after they asked, never what was read before: a change that was confirmed to somebody is
seen by everybody who asks from then on. Where that does not matter, an answer may have an age.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class SharedRead(Generic[T]):
    """One question; `ask` puts it. The first of those who wait does the work, so there is no task of its own."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask: Final = ask
        self._turn: Final = asyncio.Lock()
        self._now: Final = asyncio.get_running_loop().time
        self._found: T | None = None
        self._began = -math.inf

    async def get(self, max_age: float = 0.0) -> T:
        """Return an answer that was asked for at most `max_age` seconds before this call.

        Raises whatever the question raises, to the one who puts it; the next one puts it anew.
        """
        wanted = self._now() - max_age
        async with self._turn:
            if self._began < wanted or self._found is None:
                began = self._now()
                self._found = await self._ask()
                self._began = began
            return self._found
