"""Counts, readings and spreads: exact, bounded in their labels, and whole whichever threads use them."""

from __future__ import annotations

import math
from threading import Thread

import pytest

from supervisor.telemetry.tallies import LONGEST_LABEL, OTHER, Gauge, Histogram, Tally


def test_a_tally_counts_for_each_label() -> None:
    """Counts with the same labels are added up, and a tally without labels begins with zero."""
    tally = Tally("x", "X.", ("queue",))
    tally.add(2, ("a",))
    tally.add(3, ("a",))
    tally.add(1, ("b",))
    assert tally.counts() == {("a",): 5, ("b",): 1}
    assert Tally("y", "Y.").counts() == {(): 0}


def test_labels_are_bounded() -> None:
    """Beyond so many combinations of labels all are counted as one, those that were known go on, and none is long."""
    tally = Tally("x", "X.", ("queue", "kind"), most=2)
    for name in ("a", "b", "c", "d", "a"):
        tally.add(1, (name, "k" * 1000))
    assert tally.counts() == {
        ("a", "k" * LONGEST_LABEL): 2,
        ("b", "k" * LONGEST_LABEL): 1,
        (OTHER, OTHER): 2,
    }


def test_a_gauge_is_what_was_set_last() -> None:
    """A value replaces the one before, and `set_all` also takes away those that it does not name."""
    gauge = Gauge("x", "X.", ("queue",), most=2)
    gauge.set(1.0, ("a",))
    gauge.set(2.0, ("a",))
    assert gauge.values() == {("a",): 2.0}
    gauge.set_all({("c",): 3.0, ("b",): 4.0, ("d",): 5.0})
    assert gauge.values() == {("b",): 4.0, ("c",): 3.0}


def test_a_gauge_can_be_read_when_somebody_looks() -> None:
    """A reading is asked each time, until it is taken back."""
    gauge, looks = Gauge("x", "X."), iter([1.0, 2.0])
    take_back = gauge.read_by(lambda: {(): next(looks)})
    assert [gauge.values(), gauge.values()] == [{(): 1.0}, {(): 2.0}]
    take_back()
    take_back()
    assert gauge.values() == {}


def test_a_histogram_counts_up_to_each_bound() -> None:
    """An observation falls into the first bucket that is not below it, as often as it weighs."""
    histogram = Histogram("x", "X.", bounds=(1.0, 2.0))
    for value, weight in ((0.5, 1), (1.0, 1), (1.5, 3), (math.inf, 1)):
        histogram.observe(value, (), weight)
    (spread,) = histogram.spreads().values()
    assert spread.buckets == [2, 3, 1]
    assert histogram.sums() == (6, math.inf)


@pytest.mark.timeout(30)
def test_nothing_is_lost_between_threads() -> None:
    """Threads that count at the same time are all counted."""
    tally, histogram = Tally("x", "X."), Histogram("y", "Y.")

    def work() -> None:
        for _ in range(5000):
            tally.add()
            histogram.observe(1.0)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.counts() == {(): 20_000}
    assert histogram.sums() == (20_000, 20_000.0)
