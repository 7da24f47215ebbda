"""How long the interpreter needs for our import, and the command line for its help."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.processes import python
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples, in_turn

if TYPE_CHECKING:
    from benchmarks.sampling import Plan


def measure(plan: Plan) -> list[Row]:
    """Twice the usual runs and one: a new process is a noisy thing, and a cheap one."""
    samples = in_turn(
        replace(plan, runs=2 * plan.runs + 1),
        "s",
        {
            "python -c pass": lambda: python("-c", "pass"),
            "python -c 'import supervisor'": lambda: python("-c", "import supervisor"),
            "python -m supervisor --help": lambda: python("-m", "supervisor", "--help"),
        },
    )
    bare, imported, helped = samples.values()
    added = tuple(ours - theirs for ours, theirs in zip(imported.values, bare.values, strict=True))
    return [
        Row("import supervisor, beyond python -c pass", Samples("import", "s", added), None, at_most(0.06, "s")),
        Row("python -m supervisor --help", helped, None, at_most(0.2, "s")),
    ]
