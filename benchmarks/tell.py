"""The rate of `tell`, from the call to the end of `handle`, against a bare queue and against Pykka."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

import pykka

from benchmarks.results import Row, at_least
from benchmarks.sampling import in_turn, on_uvloop
from supervisor import Actor, Child
from supervisor.testing import running

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

MESSAGES: Final = 200_000

_CAPACITY: Final = 100  # the default of a mailbox, so the queue has it too


class Listener(Actor[int]):
    """Waits for the last message."""

    def __init__(self, last: int, ended: asyncio.Future[float]) -> None:
        self._last = last
        self._ended = ended

    async def handle(self, message: int) -> None:
        """Report the time of the last message."""
        if message == self._last:
            self._ended.set_result(time.perf_counter())


class PykkaListener(pykka.ThreadingActor):
    """The same as a Pykka actor."""

    def __init__(self, last: int, ended: threading.Event) -> None:
        super().__init__()
        self._last = last
        self._ended = ended

    def on_receive(self, message: int) -> None:
        """Report the last message."""
        if message == self._last:
            self._ended.set()


def measure(plan: Plan) -> list[Row]:
    """One sender, one supervised actor, and a mailbox with its default bound."""
    count = plan.size(MESSAGES)
    samples = in_turn(
        plan,
        "/s",
        {
            "tell": on_uvloop(lambda: _tell(count)),
            "bare asyncio.Queue": on_uvloop(lambda: _queue(count)),
            "Pykka tell": lambda: _pykka(count),
        },
    )
    tell = samples["tell"]
    return [
        Row("tell to handled", tell, samples["bare asyncio.Queue"], at_least(1.0)),
        Row("tell to handled", tell, samples["Pykka tell"], at_least(5.0)),
    ]


async def _tell(count: int) -> float:
    ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    async with running(Child("listener", lambda: Listener(count - 1, ended))) as ref:
        began = time.perf_counter()
        for number in range(count):
            await ref.tell(number)
        return count / (await ended - began)


async def _queue(count: int) -> float:
    queue: asyncio.Queue[int] = asyncio.Queue(_CAPACITY)

    async def consume() -> float:
        for _ in range(count):
            await queue.get()
        return time.perf_counter()

    async with asyncio.TaskGroup() as tasks:
        consumer = tasks.create_task(consume())
        await asyncio.sleep(0)
        began = time.perf_counter()
        for number in range(count):
            await queue.put(number)
        return count / (await consumer - began)


def _pykka(count: int) -> float:
    ended = threading.Event()
    ref = PykkaListener.start(count - 1, ended)
    try:
        began = time.perf_counter()
        for number in range(count):
            ref.tell(number)
        ended.wait()
        return count / (time.perf_counter() - began)
    finally:
        ref.stop()
