"""How long an idle process needs from SIGTERM to its exit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.apps import IDLE_ACTORS
from benchmarks.processes import program
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

_LIMIT: Final = 30.0


def measure(plan: Plan) -> list[Row]:
    """Each sample is a process of its own, stopped as soon as it is ready."""
    took = []
    for number in range(1, plan.runs + 1):
        plan.say(f"SIGTERM to exit: run {number} of {plan.runs}")
        with program("benchmarks.apps:idle") as process:
            began = time.perf_counter()
            process.terminate()
            code = process.wait(_LIMIT)
            took.append(time.perf_counter() - began)
            assert code == ExitCode.CLEAN, f"the process ended with {code}"
    samples = Samples("SIGTERM", "s", tuple(took))
    return [Row(f"SIGTERM to exit, {IDLE_ACTORS} idle actors", samples, None, at_most(1.0, "s"))]
