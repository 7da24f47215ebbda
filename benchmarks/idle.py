"""What a hundred actors with nothing to do cost, as a whole process and as a tree without the process around it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Final

import uvloop

from benchmarks.apps import IDLE_ACTORS, Quiet
from benchmarks.processes import cpu_time, program, report_of
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples
from supervisor import Child, Supervisor
from supervisor.testing import running

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

SECONDS: Final = 20.0
_SETTLE: Final = 1.0


def measure(plan: Plan) -> list[Row]:
    """Both are observed at the same time: two sleepers do not disturb each other."""
    seconds, runs = plan.seconds(SECONDS), max(1, plan.runs // 3)
    processes, trees = [], []
    for number in range(1, runs + 1):
        plan.say(f"{IDLE_ACTORS} idle actors for {seconds:g} s: run {number} of {runs}")
        with program("benchmarks.apps:idle") as process:
            time.sleep(plan.seconds(_SETTLE))
            cpu, began = cpu_time(process.pid), time.monotonic()
            trees.append(report_of("benchmarks.idle", str(IDLE_ACTORS), str(seconds))["share"])
            processes.append(100 * (cpu_time(process.pid) - cpu) / (time.monotonic() - began))
    limit = at_most(0.2, "%")
    return [
        Row(
            f"{IDLE_ACTORS} idle actors, process: share of a core",
            Samples("process", "%", tuple(processes)),
            None,
            limit,
        ),
        Row(f"{IDLE_ACTORS} idle actors, tree alone: share of a core", Samples("tree", "%", tuple(trees)), None, limit),
    ]


async def rest(count: int, seconds: float) -> float:
    """Keep `count` idle actors for a while; return their share of a core in percent."""
    async with running(Supervisor("root", [Child(f"quiet-{number}", Quiet) for number in range(count)])):
        await asyncio.sleep(0)
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        return 100 * (time.process_time() - cpu) / (time.monotonic() - began)


if __name__ == "__main__":
    print(json.dumps({"share": uvloop.run(rest(int(sys.argv[1]), float(sys.argv[2])))}))
