"""What a benchmark found: one row for each figure, and whether it reached its target."""

from __future__ import annotations

import enum
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.sampling import Samples

_SCALES: Final = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "/s": ((1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")),
    "B": ((1024.0**2, "MiB"), (1024.0, "KiB"), (1.0, "B")),
    "%": ((1.0, "%"),),
    "×": ((1.0, "×"),),
    "": ((1.0, ""),),
}


class Sense(enum.Enum):
    """Which side of its bound a figure must be on."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound in the unit of the samples, or `×` for one on the ratio to what we are compared with."""

    sense: Sense
    bound: float
    unit: str

    def __str__(self) -> str:
        return f"{self.sense.value} {quantity(self.bound, self.unit)}"

    def met_by(self, value: float) -> bool:
        """Whether `value` is on the right side."""
        match self.sense:
            case Sense.AT_LEAST:
                return value >= self.bound
            case Sense.AT_MOST:
                return value <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: our samples, those of whom we are compared with if anyone, and the target."""

    figure: str
    ours: Samples
    other: Samples | None
    target: Target

    @property
    def ratio(self) -> float | None:
        """Ours to theirs: the median over the runs of each run's own ratio.

        Neighbours in time are compared with each other, so a slow drift of the machine cancels out.
        """
        if self.other is None or not all(self.other.values):
            return None
        return statistics.median(
            ours / theirs for ours, theirs in zip(self.ours.values, self.other.values, strict=True)
        )

    @property
    def reached(self) -> bool:
        """Whether the target was met."""
        if self.target.unit != "×":
            return self.target.met_by(self.ours.median)
        return self.ratio is not None and self.target.met_by(self.ratio)

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """The row as people read it: figure, ours, compared with, ratio, target, reached."""
        other = "–" if self.other is None else f"{self.other.label}: {quantity(self.other.median, self.other.unit)}"
        ratio = "–" if self.ratio is None else quantity(self.ratio, "×")
        ours = quantity(self.ours.median, self.ours.unit)
        return self.figure, ours, other, ratio, str(self.target), "yes" if self.reached else "no"

    def data(self) -> dict[str, object]:
        """The row for machines, with every raw sample."""
        return {
            "figure": self.figure,
            "ours": _data(self.ours),
            "other": None if self.other is None else _data(self.other),
            "ratio": self.ratio,
            "target": {"sense": self.target.sense.value, "bound": self.target.bound, "unit": self.target.unit},
            "reached": self.reached,
        }


def at_least(bound: float, unit: str = "×") -> Target:
    """A target to reach or exceed."""
    return Target(Sense.AT_LEAST, bound, unit)


def at_most(bound: float, unit: str = "×") -> Target:
    """A limit to keep."""
    return Target(Sense.AT_MOST, bound, unit)


def quantity(value: float, unit: str) -> str:
    """Write a number with three significant digits and a readable unit: `4.31 µs`, `2.05 M/s`."""
    scales = _SCALES[unit]
    size, name = next(((size, name) for size, name in scales if abs(value) >= size), scales[-1])
    if value == 0:
        size, name = scales[0]
    return f"{_digits(value / size)} {name}".rstrip()


def _digits(number: float) -> str:
    if abs(number) >= 100:  # noqa: PLR2004 - three digits stand before the point
        return f"{number:.0f}"
    text = f"{number:.3g}"
    return f"{number:.5f}".rstrip("0") if "e" in text else text


def _data(samples: Samples) -> dict[str, object]:
    return {
        "label": samples.label,
        "unit": samples.unit,
        "median": samples.median,
        "values": list(samples.values),
    }
