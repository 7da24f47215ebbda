"""What an actor costs that crashes right after every start, until its supervisor gives up and the process ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.processes import report_of_app
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from benchmarks.sampling import Plan


def measure(plan: Plan) -> list[Row]:
    """Measured inside the process, from the first start of the actor, so the interpreter's own start is left out."""
    reports = []
    for number in range(1, plan.runs + 1):
        plan.say(f"crash storm: run {number} of {plan.runs}")
        reports.append(report_of_app("benchmarks.apps:storm", ExitCode.GAVE_UP))
    share = Samples("storm", "%", tuple(100 * report["cpu"] / report["wall"] for report in reports))
    cpu = Samples("storm", "s", tuple(report["cpu"] for report in reports))
    return [
        Row("crash storm: share of a core", share, None, at_most(5.0, "%")),
        Row("crash storm: CPU in all", cpu, None, at_most(0.2, "s")),
    ]
