"""One crash among many: the time until the child runs again must not depend on how many siblings it has."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Final

from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples, collected, in_turn, on_uvloop
from supervisor import Actor, Backoff, Child, DynamicSupervisor, Restart, Supervisor
from supervisor.testing import EventLog, running
from supervisor.tree.events import ChildExited, ChildStarted

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

MANY: Final = 10_000
FEW: Final = 10
CRASHES: Final = 50

_AT_ONCE: Final = Backoff(first=0.0)


class Fragile(Actor[list[float]]):
    """Crashes over every message, and writes the time of it into the message."""

    async def handle(self, message: list[float]) -> None:
        message.append(time.perf_counter())
        raise RuntimeError("crashed on purpose")
