"""Ten thousand actors: how long they take to start and to stop, and how much memory each needs."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Never

import uvloop

from benchmarks.processes import report_of
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples
from supervisor import Actor, Child, DynamicSupervisor, Supervisor
from supervisor.testing import running

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

ACTORS: Final = 10_000
_WARM_UP: Final = 10


class Quiet(Actor[Never]):
    """Waits for messages, as most actors do most of the time."""


def measure(plan: Plan) -> list[Row]:
    """Each sample is a fresh process, so that no memory freed by an earlier one is used again."""
    count = plan.size(ACTORS)
    found: dict[str, list[dict[str, float]]] = {"Supervisor": [], "DynamicSupervisor": []}
    for number in range(1, plan.runs + 1):
        for kind, reports in found.items():
            plan.say(f"{count:,} actors under a {kind}: run {number} of {plan.runs}")
            reports.append(report_of("benchmarks.population", kind, str(count)))
    rows = []
    for kind, reports in found.items():
        for figure, unit, target in (
            ("start", "s", at_most(2.0, "s")),
            ("stop", "s", at_most(2.0, "s")),
            ("memory of each", "B", at_most(8 * 1024, "B")),
        ):
            samples = Samples(kind, unit, tuple(report[figure] for report in reports))
            rows.append(Row(f"{count:,} actors, {kind}: {figure}", samples, None, target))
    return rows


async def populate(kind: str, count: int) -> dict[str, float]:
    """Start `count` actors from nothing, and stop them; specifications count as part of their actors.

    Under a `DynamicSupervisor` they are started one by one, which is the slower way.
    """
    await _live(kind, _WARM_UP)
    gc.collect()
    return await _live(kind, count)


async def _live(kind: str, count: int) -> dict[str, float]:
    memory, began = _resident(), time.perf_counter()
    names = (f"quiet-{number}" for number in range(count))
    dynamic = DynamicSupervisor("dynamic", max_children=count) if kind == "DynamicSupervisor" else None
    root = Supervisor("root", [dynamic] if dynamic is not None else [Child(name, Quiet) for name in names])
    async with running(root) as tree:
        if dynamic is not None:
            for name in names:
                await dynamic.start_child(Child(name, Quiet))
        started = time.perf_counter()
        await asyncio.sleep(0)
        gc.collect()
        grown = _resident() - memory
        assert sum(1 for _ in tree.snapshot().walk()) >= count
        stopping = time.perf_counter()
        tree.stop()
        await tree.wait()
        stopped = time.perf_counter()
    return {"start": started - began, "stop": stopped - stopping, "memory of each": grown / count}


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(uvloop.run(populate(sys.argv[1], int(sys.argv[2])))))
