"""Waiting, for handlers and campaigns whose subject is time itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def pause(seconds: float) -> None:
    """Let so much time pass."""
    with anyio.move_on_after(seconds):
        await anyio.sleep_forever()


async def until(holds: Callable[[], Awaitable[bool]], what: str, limit: float, every: float = 0.1) -> float:
    """Wait until something holds; return the seconds that it took. Raises AssertionError after `limit` seconds."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < limit, f"after {limit:g} s still not: {what}"
        await pause(every)
    return time.monotonic() - began
