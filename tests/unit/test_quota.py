"""A quota admits one line for each key and period, and loses count of none that it holds back."""

from __future__ import annotations

import pytest

from supervisor.telemetry.quota import Quota
from supervisor.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test turns."""
    return FakeClock()


@pytest.fixture
def quota(clock: FakeClock) -> Quota[str]:
    """A quota of one line a second."""
    return Quota(1.0, clock.now)


def test_the_first_line_of_a_key_is_admitted(quota: Quota[str]) -> None:
    """Each key has its first line at once, and nothing was held back before it."""
    assert [quota.admit("a"), quota.admit("b")] == [0, 0]


def test_further_lines_of_a_period_are_held_back(quota: Quota[str]) -> None:
    """Within the period of a key no second line is admitted."""
    assert [quota.admit("a"), quota.admit("a"), quota.admit("a")] == [0, None, None]


async def test_the_next_period_tells_how_many_were_held_back(clock: FakeClock, quota: Quota[str]) -> None:
    """The first line of the next period comes with the number of those before it."""
    for _ in range(4):
        quota.admit("a")
    await clock.advance(1.0)
    assert [quota.admit("a"), quota.admit("a")] == [3, None]


async def test_a_period_that_nobody_ends_is_told_by_over(clock: FakeClock, quota: Quota[str]) -> None:
    """Lines held back are told once their period has passed, even if no line of the key follows."""
    for key in ("a", "a", "a", "b"):
        quota.admit(key)
    assert quota.over() == []
    await clock.advance(1.0)
    assert quota.over() == [("a", 2)]
    assert quota.admit("a") is None


async def test_nothing_is_kept_of_a_key_that_is_quiet(clock: FakeClock, quota: Quota[str]) -> None:
    """A key costs memory for its period only, however many keys there are."""
    for number in range(100):
        quota.admit(str(number))
    assert quota.open
    await clock.advance(1.0)
    assert quota.over() == []
    assert not quota.open


def test_everything_can_be_told_at_once(quota: Quota[str]) -> None:
    """At the end nothing waits for the end of its period."""
    quota.admit("a")
    quota.admit("a")
    assert quota.over(at_once=True) == [("a", 1)]
    assert not quota.open
