"""What every Python contestant does in the same way: read the order, measure, print one line of JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import resource
import sys
import time
from typing import TYPE_CHECKING, Final, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Order(TypedDict, total=False):
    """What to measure: `most` jobs, enqueued `batch` at a time; the rest is the contestant's own tuning."""

    most: int
    batch: int
    fetch: int
    workers: int
    concurrency: int


DSN: Final = os.environ["BENCHMARK_DSN"]
PAYLOAD: Final = {"user_id": 12345, "action": "send_email", "template": "welcome"}
ACTION: Final = sys.argv[1]
ORDER: Final = cast("Order", json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})  # noqa: PLR2004 - optional
_WARM_UP: Final = 2.0

logging.disable(logging.CRITICAL)


class Calls:
    """Counts handler calls; `done` resolves at the last one, `next()` at the next one, both with its time."""

    def __init__(self) -> None:
        self.most = ORDER.get("most", 0)
        self.count = 0
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiter: asyncio.Future[float] | None = None

    def hit(self) -> None:
        """Count one call."""
        self.count += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(time.perf_counter())
        if self.count == self.most and not self.done.done():
            self.done.set_result(time.perf_counter())

    def next(self) -> asyncio.Future[float]:
        """Wait for the next call."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter


def cpu() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def report(**found: float) -> None:
    """Say what was measured."""
    sys.stdout.write(json.dumps(found) + "\n")


async def enqueue(put: Callable[[int], Awaitable[object]]) -> None:
    """Enqueue the jobs with `put(count)`."""
    began = time.perf_counter()
    for at in range(0, ORDER["most"], ORDER["batch"]):
        await put(min(ORDER["batch"], ORDER["most"] - at))
    report(rate=ORDER["most"] / (time.perf_counter() - began), cpu=cpu())


async def drain(calls: Calls, began: float, stop: Callable[[], Awaitable[object]]) -> None:
    """Wait for the last handler, then let `stop()` write what is still to be written."""
    before = cpu()
    seconds = await calls.done - began
    await stop()
    whole = time.perf_counter() - began
    report(rate=calls.most / seconds, committed=calls.most / whole, cpu=cpu() - before)


async def latency(calls: Calls, put: Callable[[], Awaitable[object]]) -> None:
    """Enqueue one job after the other into an idle queue; milliseconds from the call to the handler."""
    await asyncio.sleep(_WARM_UP)
    found = []
    for _ in range(ORDER["most"]):
        await asyncio.sleep(0.02 + random.random() * 0.03)  # noqa: S311 - no secret
        started = calls.next()
        began = time.perf_counter()
        await put()
        found.append((await asyncio.wait_for(started, 30) - began) * 1000)
    found.sort()
    report(p50=found[len(found) // 2], p99=found[int(len(found) * 0.99)])
