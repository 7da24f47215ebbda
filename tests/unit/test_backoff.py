"""Holds the delays between restarts to their promise: exponential, capped, spread, and never an overflow."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ConfigError
from supervisor.testing import EventLog, FakeClock, crash, running
from supervisor.tree.backoff import Backoff
from supervisor.tree.child import Child
from supervisor.tree.events import ChildRestarting
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Puppet

if TYPE_CHECKING:
    from collections.abc import Mapping


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """Make backoffs as people might configure them."""
    first = draw(st.floats(0.001, 10))
    return Backoff(
        first=first,
        factor=draw(st.floats(1, 10)),
        cap=draw(st.floats(first, 3600)),
        jitter=draw(st.floats(0, 0.9)),
    )


def test_the_defaults_are_those_of_the_documentation() -> None:
    """By default delays double from 0.1 s to 5 s, and five restarts wait 3.1 s together, 3.72 s with jitter."""
    backoff = Backoff()
    assert [backoff.delay(n) for n in range(1, 9)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])
    assert backoff.longest(5) == pytest.approx(3.1 * 1.2)


@hypothesis.given(backoffs(), st.integers(1, 60))
def test_the_delay_is_the_textbook_formula(backoff: Backoff, failures: int) -> None:
    """The n-th delay is first × factor^(n-1), and the cap where that is larger."""
    expected = min(backoff.cap, backoff.first * backoff.factor ** (failures - 1))
    assert backoff.delay(failures) == pytest.approx(expected)


@hypothesis.given(backoffs(), st.integers(1, 10**9), st.integers(1, 10**9))
def test_more_failures_never_wait_less(backoff: Backoff, some: int, more: int) -> None:
    """Delays never shrink and never exceed the cap, also after a billion failures."""
    low, high = sorted((some, more))
    assert backoff.first <= backoff.delay(low) <= backoff.delay(high) <= backoff.cap


@pytest.mark.parametrize("factor", [1.0, 1.0 + 2**-52, 1e300])
def test_an_extreme_factor_cannot_overflow(factor: float) -> None:
    """Neither a factor next to 1 nor an absurd one fails after many failures."""
    assert 0.1 <= Backoff(factor=factor).delay(10**9) <= 5


@hypothesis.given(backoffs(), st.integers(1, 100), st.integers())
def test_jitter_stays_within_its_fraction(backoff: Backoff, failures: int, seed: int) -> None:
    """A jittered delay differs from the plain one by no more than the fraction, and is never negative."""
    plain = backoff.delay(failures)
    jittered = backoff.jittered(failures, random.Random(seed))  # noqa: S311 - not a secret
    assert abs(jittered - plain) <= plain * backoff.jitter * (1 + 1e-9)
    assert jittered >= 0


def test_jitter_spreads_hosts() -> None:
    """Many hosts that fail at the same time do not restart at the same time."""
    source = random.Random(1)  # noqa: S311 - not a secret
    delays = sorted(Backoff(first=1.0).jittered(1, source) for _ in range(1000))
    assert delays[0] < 0.81
    assert 0.99 < delays[500] < 1.01
    assert delays[-1] > 1.19


@hypothesis.given(backoffs(), st.integers(0, 50), st.integers())
def test_longest_is_an_upper_bound(backoff: Backoff, failures: int, seed: int) -> None:
    """No draw of the jitter makes the first delays take longer together than `longest` says."""
    source = random.Random(seed)  # noqa: S311 - not a secret
    together = sum(backoff.jittered(n, source) for n in range(1, failures + 1))
    assert together <= backoff.longest(failures) * (1 + 1e-9)


def test_no_delay_at_all_is_possible() -> None:
    """A first delay of 0 means to restart at once, always."""
    backoff = Backoff(first=0)
    assert (backoff.delay(1), backoff.delay(1000), backoff.longest(100)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"first": -0.1}, "first=-0.1"),
        ({"first": math.inf}, "first=inf"),
        ({"first": math.nan}, "first=nan"),
        ({"cap": -1.0}, "cap=-1.0"),
        ({"cap": math.nan}, "cap=nan"),
        ({"healthy_after": -1.0}, "healthy_after=-1.0"),
        ({"healthy_after": math.inf}, "healthy_after=inf"),
        ({"factor": 0.5}, "factor=0.5"),
        ({"factor": math.inf}, "factor=inf"),
        ({"factor": math.nan}, "factor=nan"),
        ({"jitter": -0.1}, "jitter=-0.1"),
        ({"jitter": 1.0}, "jitter=1.0"),
        ({"jitter": math.nan}, "jitter=nan"),
    ],
)
def test_a_backoff_that_cannot_work_is_refused(options: Mapping[str, Any], named: str) -> None:
    """A ConfigError names the field and the value."""
    with pytest.raises(ConfigError, match=rf"Backoff\({named}\): "):
        Backoff(**options)


async def test_a_child_waits_longer_each_time_and_is_forgiven() -> None:
    """Each crash in a row waits longer; after `healthy_after` seconds of life the count starts anew."""
    clock, log = FakeClock(), EventLog()
    backoff = Backoff(first=1, factor=2, cap=8, jitter=0, healthy_after=30)
    node = Child("x", Puppet, backoff=backoff)
    async with running(Supervisor("root", [node], max_restarts=10, within=1000), clock=clock, log=log):
        for life in (0, 29, 30, 0):
            await clock.advance(life)
            crash(node.ref, RuntimeError())
            await clock.advance(0)
            delay = log.of(ChildRestarting)[-1].delay
            await clock.advance(delay)
    assert [event.delay for event in log.of(ChildRestarting)] == [1, 2, 1, 2]
