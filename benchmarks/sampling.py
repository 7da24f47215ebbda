"""How a benchmark is repeated: variants in turn, the garbage collector under control, one `Plan` for all."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

FULL_RUNS: Final = 7

Variant = Callable[[], float]
"""Does the work once and returns one sample."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How thorough a measurement is: `runs` of each variant, each at `scale` of its full size.

    `say` is told what is being done, for the progress display.
    """

    runs: int = FULL_RUNS
    scale: float = 1.0
    say: Callable[[str], None] = lambda _: None

    def size(self, full: int, *, least: int = 10) -> int:
        """Scale a number of messages or actors."""
        return max(least, round(full * self.scale))

    def seconds(self, full: float, *, least: float = 0.1) -> float:
        """Scale the length of an observation."""
        return max(least, full * self.scale)


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured, in which unit, and every value in the order of the runs."""

    label: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value that stands for all."""
        return statistics.median(self.values)

    def per_second(self) -> Samples:
        """The same samples as rates, if they are seconds for one operation."""
        return Samples(self.label, "/s", tuple(1 / value for value in self.values))


def in_turn(plan: Plan, unit: str, variants: Mapping[str, Variant]) -> dict[str, Samples]:
    """Measure all variants A B C A B C …, so that whatever disturbs the machine disturbs all of them.

    An unrecorded first round warms up caches, the interpreter's inline caches and lazy imports.
    """
    values: dict[str, list[float]] = {label: [] for label in variants}
    for number in range(plan.runs + 1):
        for label, variant in variants.items():
            plan.say(f"{label}: run {number} of {plan.runs}" if number else f"{label}: warm-up")
            value = collected(variant)
            if number:
                values[label].append(value)
    return {label: Samples(label, unit, tuple(found)) for label, found in values.items()}


def collected(measure: Callable[[], T]) -> T:
    """Call `measure` with no garbage of others about: what exists before is not looked at again meanwhile.

    The collector stays on, so whoever makes cyclic garbage pays for it.
    """
    gc.collect()
    gc.freeze()
    try:
        return measure()
    finally:
        gc.unfreeze()


def on_uvloop(program: Callable[[], Coroutine[None, None, float]]) -> Variant:
    """Make a variant of a coroutine function: each sample has a fresh loop."""
    return lambda: uvloop.run(program())
