"""One crash among many: the time until the child runs again must not depend on how many siblings it has."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Final

from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples, in_turn, on_uvloop
from supervisor import Actor, Backoff, Child, DynamicSupervisor, Restart, Supervisor
from supervisor.testing import running
from supervisor.tree.events import ChildStarted

if TYPE_CHECKING:
    from benchmarks.sampling import Plan, Variant
    from supervisor.tree.events import Event

MANY: Final = 10_000
FEW: Final = 10
CRASHES: Final = 50

_LIMIT: Final = 10.0  # seconds for one restart, so that a broken one fails instead of hanging
_PATIENCE: Final = 1_000  # restarts before the supervisor gives up: more than there are crashes


class Fragile(Actor[list[float]]):
    """Crashes over every message, after it wrote the time into it."""

    async def handle(self, message: list[float]) -> None:
        """Crash."""
        message.append(time.perf_counter())
        raise RuntimeError("crashed on purpose")


class Watch:
    """A subscriber that notes when the child at `path` runs again, and counts what happens to others."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.others = 0
        self.restarted: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def __call__(self, event: Event) -> None:
        """Take an event of the tree."""
        if event.path != self._path:
            self.others += 1
        elif isinstance(event, ChildStarted):
            self.restarted.set_result(time.perf_counter())


def measure(plan: Plan) -> list[Row]:
    """The two sizes in turn; a sample is the median of many crashes of the same child, without backoff."""
    many = plan.size(MANY, least=2 * FEW)
    rows = []
    for kind in ("Supervisor", "DynamicSupervisor"):
        others: list[float] = []
        among_many, among_few = f"{kind} of {many:,}", f"{kind} of {FEW}"
        samples = in_turn(
            plan,
            "s",
            {
                among_many: _variant(kind, many, plan.size(CRASHES), others),
                among_few: _variant(kind, FEW, plan.size(CRASHES), others),
            },
        )
        touched = Samples(kind, "", tuple(others))
        rows.append(Row(f"crash to running, {among_many}", samples[among_many], samples[among_few], at_most(1.5)))
        rows.append(Row(f"siblings touched by a crash, {kind}", touched, None, at_most(0.0, "")))
    return rows


def _variant(kind: str, count: int, crashes: int, others: list[float]) -> Variant:
    async def sample() -> float:
        took, touched = await _crash_often(kind, count, crashes)
        others.append(touched)
        return took

    return on_uvloop(sample)


async def _crash_often(kind: str, count: int, crashes: int) -> tuple[float, int]:
    children = [
        Child(f"child-{number}", Fragile, restart=Restart.PERMANENT, backoff=Backoff(first=0.0))
        for number in range(count)
    ]
    dynamic = DynamicSupervisor("shop", max_children=count, max_restarts=_PATIENCE)
    shop = dynamic if kind == "DynamicSupervisor" else Supervisor("shop", children, max_restarts=_PATIENCE)
    async with running(Supervisor("root", [shop])) as tree:
        if shop is dynamic:
            for child in children:
                await dynamic.start_child(child)
        victim = children[count // 2]
        watch = Watch(victim.ref.path)
        tree.runtime.subscribe(watch)
        times = [await _crash(victim, watch) for _ in range(crashes)]
        tree.runtime.unsubscribe(watch)
    return statistics.median(times), watch.others


async def _crash(victim: Child[list[float]], watch: Watch) -> float:
    watch.restarted = asyncio.get_running_loop().create_future()
    crashed: list[float] = []
    await victim.ref.tell(crashed)
    async with asyncio.timeout(_LIMIT):
        running_again = await watch.restarted
    return running_again - crashed[0]
