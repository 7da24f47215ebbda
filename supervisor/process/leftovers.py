"""What still runs when the tree has ended: tasks that nobody supervised, threads that nobody can stop."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

OBEY: Final = 1.0
"""Seconds that a stray task gets to obey its cancel."""


async def cancel_strays(abandoned: Collection[asyncio.Task[None]], limit: float = OBEY) -> list[str]:
    """Cancel every other task of the loop; return the names of those that still run after `limit` seconds.

    The `abandoned` ones have had their chance.
    """
    strays = asyncio.all_tasks() - {asyncio.current_task()} - set(abandoned)
    for stray in strays:
        stray.cancel()
    if strays:
        await asyncio.wait(strays, timeout=limit)
    return sorted(f"task {stray.get_name()}" for stray in strays if not stray.done())


def join_threads(until: float) -> list[str]:
    """Wait for the non-daemon threads, until `until` on the monotonic clock; return the names of the rest.

    The interpreter would wait for them without a limit.
    """
    left = []
    for thread in threading.enumerate():
        if thread is threading.main_thread() or thread is threading.current_thread() or thread.daemon:
            continue
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            left.append(f"thread {thread.name}")
    return left
