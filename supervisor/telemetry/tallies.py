"""Counts, sums and readings by label, at a price that the hot path can pay in bulk; `metrics` shows them.

A change takes a lock, as the HTTP thread reads and threads report too. Labels are bounded: whoever names the
thousand-and-first queue is counted under `other`.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Labels: TypeAlias = tuple[str, ...]
Reading: TypeAlias = "Callable[[], Mapping[Labels, float]]"

MOST_SERIES: Final = 1000
"""Combinations of labels that one metric has at most."""

LONGEST_LABEL: Final = 128
"""Characters of a label's value."""

OTHER: Final = "other"
"""What takes the place of all labels beyond that."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper bounds of the buckets for durations: those that Prometheus clients usually have, and longer ones."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a metric is called, what it means, and its labels. The unit stands at the end of the name."""

    name: str
    help: str
    labels: Labels = ()


_log = logging.getLogger(__name__)


class _Series:
    """The labels that have been seen, up to a number."""

    __slots__ = ("_known", "_lock", "family", "most")

    def __init__(self, family: Family, most: int) -> None:
        self.family: Final = family
        self.most: Final = most
        self._lock: Final = Lock()
        self._known: Final = dict[Labels, Labels]()

    def _place(self, labels: Labels) -> Labels:
        """Return where to count these labels; to be called with the lock."""
        known = self._known.get(labels)
        if known is None:
            if len(self._known) >= self.most:
                return (OTHER,) * len(self.family.labels)
            known = self._known[labels] = tuple(label[:LONGEST_LABEL] for label in labels)
        return known


class Tally(_Series):
    """A count that only grows."""

    __slots__ = ("_counts",)

    def __init__(self, name: str, help_text: str, labels: Labels = (), *, most: int = MOST_SERIES) -> None:
        super().__init__(Family(name, help_text, labels), most)
        self._counts: Final[dict[Labels, float]] = {} if labels else {(): 0.0}

    def add(self, count: float = 1, labels: Labels = ()) -> None:
        """Count so many more."""
        with self._lock:
            place = self._place(labels)
            self._counts[place] = self._counts.get(place, 0.0) + count

    def counts(self) -> dict[Labels, float]:
        """Return all counts."""
        with self._lock:
            return dict(self._counts)


class Gauge(_Series):
    """A value that goes up and down: what was set last, and what `reading` says when somebody looks."""

    __slots__ = ("_readings", "_values")

    def __init__(self, name: str, help_text: str, labels: Labels = (), *, most: int = MOST_SERIES) -> None:
        super().__init__(Family(name, help_text, labels), most)
        self._values: dict[Labels, float] = {}
        self._readings: Final = list[Reading]()

    def set(self, value: float, labels: Labels = ()) -> None:
        """Say what the value is."""
        with self._lock:
            self._values[self._place(labels)] = value

    def set_all(self, values: Mapping[Labels, float]) -> None:
        """Say what all values are; labels that are missing are gone."""
        kept = sorted(values)[: self.most]
        with self._lock:
            self._values = {tuple(label[:LONGEST_LABEL] for label in labels): values[labels] for labels in kept}

    def read_by(self, reading: Reading) -> Callable[[], None]:
        """Ask `reading` whenever somebody looks, from whatever thread; returns what takes that back."""
        self._readings.append(reading)

        def take_back() -> None:
            if reading in self._readings:
                self._readings.remove(reading)

        return take_back

    def values(self) -> dict[Labels, float]:
        """Return all values."""
        with self._lock:
            found = dict(self._values)
        for reading in tuple(self._readings):
            try:
                found.update(reading())
            except Exception:  # noqa: BLE001 - one that cannot be read must not hide the others
                _log.exception("the metric %s cannot be read", self.family.name)
        return found


@dataclass(slots=True)
class Distribution:
    """How many observations fell into each bucket (the last is that without a bound), and their sum."""

    buckets: list[int]
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)


class Histogram(_Series):
    """How durations are spread. An observation may stand for several."""

    __slots__ = ("_spread", "bounds")

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Labels = (),
        *,
        bounds: Sequence[float] = SECONDS,
        most: int = MOST_SERIES,
    ) -> None:
        super().__init__(Family(name, help_text, labels), most)
        self.bounds: Final = (*bounds, math.inf)
        self._spread: Final = dict[Labels, Distribution]()

    def observe(self, value: float, labels: Labels = (), weight: int = 1) -> None:
        """Take note of a value, `weight` times."""
        self.observe_all(((value, weight),), labels)

    def observe_all(self, values: Iterable[tuple[float, int]], labels: Labels = ()) -> None:
        """Take note of several values, each with its weight."""
        with self._lock:
            place = self._place(labels)
            spread = self._spread.get(place)
            if spread is None:
                spread = self._spread[place] = Distribution([0] * len(self.bounds))
            for value, weight in values:
                spread.buckets[bisect_left(self.bounds, value)] += weight
                spread.total += value * weight

    def spreads(self) -> dict[Labels, Distribution]:
        """Return a copy of all."""
        with self._lock:
            return {place: Distribution(list(each.buckets), each.total) for place, each in self._spread.items()}

    def sums(self) -> tuple[int, float]:
        """Return how many observations there were, whatever their labels, and their sum."""
        with self._lock:
            return sum(each.count for each in self._spread.values()), sum(each.total for each in self._spread.values())
