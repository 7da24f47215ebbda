"""The round trip of `ask`, against two tasks that wake each other through futures, and against Pykka."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Never

import pykka

from benchmarks.results import Row, at_least, at_most
from benchmarks.sampling import in_turn, on_uvloop
from supervisor import Actor, ActorRef, Child, Reply, Supervisor
from supervisor.testing import running

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

ROUND_TRIPS: Final = 50_000
PYKKA_ROUND_TRIPS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Question:
    """A request as the documentation writes one."""

    reply: Reply[int]


class Oracle(Actor[Question]):
    """Answers at once."""

    async def handle(self, message: Question) -> None:
        """Answer."""
        message.reply.send(1)


class Asker(Actor[Never]):
    """Asks from inside an actor, where every ask is checked for a cycle."""

    def __init__(self, ref: ActorRef[Question], count: int, took: asyncio.Future[float]) -> None:
        self._ref = ref
        self._count = count
        self._took = took

    async def run(self) -> None:
        """Ask, then be idle."""
        self._took.set_result(await _ask_often(self._ref, self._count))
        await super().run()


class PykkaOracle(pykka.ThreadingActor):
    """The same as a Pykka actor."""

    def on_receive(self, message: object) -> int:  # noqa: ARG002 - the signature is Pykka's
        """Answer."""
        return 1


def measure(plan: Plan) -> list[Row]:
    """One asker, one supervised actor; a sample is the mean time of many round trips, one after the other."""
    count, pykka_count = plan.size(ROUND_TRIPS), plan.size(PYKKA_ROUND_TRIPS)
    samples = in_turn(
        plan,
        "s",
        {
            "ask": on_uvloop(lambda: _ask(count)),
            "bare futures": on_uvloop(lambda: _Futures().round_trips(count)),
            "ask in an actor": on_uvloop(lambda: _ask_inside(count)),
            "Pykka ask": lambda: _pykka(pykka_count),
        },
    )
    ask, inside, bare = samples["ask"], samples["ask in an actor"], samples["bare futures"]
    return [
        Row("ask, from a task", ask, bare, at_most(2.0)),
        Row("ask, from an actor", inside, bare, at_most(2.0)),
        Row("ask, from a task", ask.per_second(), samples["Pykka ask"].per_second(), at_least(3.0)),
    ]


async def _ask_often(ref: ActorRef[Question], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await ref.ask(Question)
    return (time.perf_counter() - began) / count


async def _ask(count: int) -> float:
    async with running(Child("oracle", Oracle)) as ref:
        return await _ask_often(ref, count)


async def _ask_inside(count: int) -> float:
    took: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    oracle = Child("oracle", Oracle)
    asker = Child("asker", lambda: Asker(oracle.ref, count, took))
    async with running(Supervisor("root", [oracle, asker])):
        return await took


class _Futures:
    """The least that two tasks need for a question and an answer: a future each way."""

    __slots__ = ("_answer", "_question")

    _answer: asyncio.Future[None]
    _question: asyncio.Future[None]

    async def round_trips(self, count: int) -> float:
        loop = asyncio.get_running_loop()
        self._question = loop.create_future()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve(count))
            await asyncio.sleep(0)
            began = time.perf_counter()
            for _ in range(count):
                answer = self._answer = loop.create_future()
                self._question.set_result(None)
                await answer
            return (time.perf_counter() - began) / count

    async def _serve(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            await self._question
            self._question = loop.create_future()
            self._answer.set_result(None)


def _pykka(count: int) -> float:
    ref = PykkaOracle.start()
    try:
        began = time.perf_counter()
        for _ in range(count):
            ref.ask(None, block=True)
        return (time.perf_counter() - began) / count
    finally:
        ref.stop()
