"""When the one order is fair to tenants: what is called unfair, and what chance explains."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from supervisor.jobs.fairness import FIRST, LASTS, MOST, PATIENCE, PROVES, Fairness, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = [f"t{number}" for number in range(1000)]
ALL = dict.fromkeys(NAMES, 1.0)


def one(_name: str) -> float:
    """Return the weight of whoever has none of its own."""
    return 1.0


@pytest.mark.parametrize(
    ("got", "ready", "verdict"),
    [
        ({}, {}, Verdict.UNKNOWN),
        ({"a": 10**6}, {"a": 1.0}, Verdict.UNKNOWN),
        ({"a": 10**6}, {"a": 1.0, "new": 1.0}, Verdict.UNFAIR),
        ({"a": 10}, {"a": 1.0, "new": 1.0}, Verdict.UNKNOWN),
        ({"a": 50, "b": 50}, {"a": 1.0, "b": 1.0}, Verdict.FAIR),
        ({"a": 50, "b": 50}, {}, Verdict.FAIR),
        ({"a": 10, "b": 10}, {"a": 1.0, "b": 1.0}, Verdict.UNKNOWN),
        ({"a": 300, "b": 100}, {"a": 3.0, "b": 1.0}, Verdict.FAIR),
        ({"a": 1000, "b": 100}, {"a": 1.0, "b": 10.0}, Verdict.UNFAIR),
        ({"a": 300, **dict.fromkeys(NAMES[:10], 30)}, {}, Verdict.UNFAIR),
        ({"a": 0, **dict.fromkeys(NAMES[:10], 30)}, {"a": 1.0}, Verdict.UNFAIR),
        ({"a": 0, **dict.fromkeys(NAMES[:10], 30)}, {"a": 0.1}, Verdict.FAIR),
    ],
)
def test_what_is_unfair(got: dict[str, int], ready: dict[str, float], verdict: Verdict) -> None:
    """Far more or far less than a weight's part is unfair; one alone is not, and a few jobs say nothing yet."""
    assert judge(got, ready, one) is verdict


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_chance_accuses_nobody(seed: int, weighted: bool) -> None:
    """A thousand tenants whose jobs come at random, each as its weight, stay in order for as long as one looks."""
    chance = random.Random(seed)  # noqa: S311 - a seeded order
    weights = {name: float(1 + number % 5) for number, name in enumerate(NAMES)} if weighted else ALL
    fairness = begun(0.0)
    for look in range(1, 40):
        now = look * 0.25
        fairness.claimed(chance.choices(NAMES, [*weights.values()], k=10_000), now)
        assert not fairness.has_to_end(weights, weights.__getitem__, now)


def begun(now: float) -> Fairness:
    """Claim in order from now."""
    fairness = Fairness()
    assert fairness.may_begin(1000, now)
    assert fairness.in_order
    return fairness


def ends(fairness: Fairness, got: Mapping[str, int], now: float, ready: Mapping[str, float]) -> bool:
    """Claim so much, and look."""
    fairness.claimed(Counter(got).elements(), now)
    return fairness.has_to_end(ready, one, now)


def test_counts_go_on_until_they_say_something() -> None:
    """What one look cannot tell, the next may; what was found fair is not held against anybody again."""
    fairness = begun(0.0)
    five = dict.fromkeys(NAMES[:10], 8)
    ready = dict.fromkeys([*NAMES[:10], "late"], 1.0)
    assert not ends(fairness, five, 0.1, ready)
    assert not ends(fairness, five, 0.2, ready)
    assert ends(fairness, five, 0.3, ready)
    fairness = begun(0.0)
    assert not ends(fairness, dict.fromkeys(NAMES[:10], 1000), 0.1, {})
    assert fairness.got == {}
    assert not ends(fairness, five, 0.2, ready)


def test_whoever_has_all_and_a_newcomer() -> None:
    """One tenant alone may take everything for as long as it likes, until another has jobs."""
    fairness = begun(0.0)
    for second in range(100):
        assert not ends(fairness, {"a": 1000}, float(second), {"a": 1.0})
    assert ends(fairness, {}, 100.0, {"a": 1.0, "new": 1.0})
    assert not fairness.in_order


def test_what_cannot_be_told_in_time_ends() -> None:
    """Where jobs are claimed so slowly that nothing is proved, turns come, and stay until it is faster."""
    fairness = begun(0.0)
    assert not ends(fairness, {"a": 1, "b": 1}, 0.0, {})
    assert not ends(fairness, {"a": 1, "b": 1}, PATIENCE, {})
    assert ends(fairness, {}, PATIENCE + 0.1, {})
    fairness.settled()
    fairness.claimed("ab", 3.0)
    assert not fairness.may_begin(2, 3.5)
    later = PATIENCE + FIRST + 0.2
    assert not fairness.may_begin(2, later)
    fairness.claimed("a" * int(2 * PROVES), later)
    assert fairness.may_begin(2, later + PATIENCE)


def test_nobody_waits() -> None:
    """After a moment in which all was claimed, nothing from before it counts."""
    fairness = begun(0.0)
    fairness.claimed("a" * 1000, 1.0)
    fairness.settled()
    assert not ends(fairness, {}, 50.0, {"a": 1.0, "new": 1.0})


def test_pauses_grow_and_shrink() -> None:
    """Each try that proves unfair doubles the time until the next, up to a minute; one that lasts takes that back."""
    fairness = Fairness()
    now = 0.0
    pauses = []
    for _ in range(8):
        assert fairness.may_begin(2, now)
        assert ends(fairness, {"a": 1000}, now, {"b": 1.0})
        began = now
        while not fairness.may_begin(2, now):
            fairness.settled()
            now += 0.5
        pauses.append(now - began)
        fairness._end(now)
    assert pauses == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, 16 * FIRST, MOST, MOST, MOST]
    assert fairness.may_begin(2, now)
    now += LASTS
    assert ends(fairness, {"a": 1000}, now, {"b": 1.0})
    fairness.settled()
    assert fairness.may_begin(2, now + FIRST)
