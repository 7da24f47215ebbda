"""Holds the restart window to OTP's rule, by comparison with a literal translation of it."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ConfigError, GaveUp
from supervisor.testing import EventLog, FakeClock, crash, running
from supervisor.tree.backoff import Backoff
from supervisor.tree.child import Child
from supervisor.tree.events import ChildRestarting, SupervisorGaveUp
from supervisor.tree.intensity import Intensity
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Puppet

EIGHTHS = st.integers(0, 80).map(lambda eighths: eighths / 8)
"""Seconds that binary fractions hold exactly, so that both sides of a comparison round alike: not at all."""


class Otp:
    """`add_restart` and `in_period` of stdlib's supervisor.erl, line by line."""

    def __init__(self, intensity: int, period: float) -> None:
        self.intensity = intensity
        self.period = period
        self.restarts: list[float] = []

    def add_restart(self, now: float) -> bool:
        """Return True for `{ok, State}` and False for `{terminate, State}`."""
        self.restarts = self.within_period([now, *self.restarts], now)
        return len(self.restarts) <= self.intensity

    def within_period(self, restarts: list[float], now: float) -> list[float]:
        match restarts:
            case [restart, *rest] if self.in_period(restart, now):
                return [restart, *self.within_period(rest, now)]
            case _:
                return []

    def in_period(self, then: float, now: float) -> bool:
        return now <= then + self.period


@hypothesis.given(st.integers(1, 6), EIGHTHS.filter(bool), st.lists(EIGHTHS, max_size=40))
def test_the_window_is_that_of_otp(max_restarts: int, within: float, pauses: list[float]) -> None:
    """For any times of restarts the window decides as OTP does, and holds as many."""
    ours, otp, now = Intensity(max_restarts, within), Otp(max_restarts, within), 1000.0
    for pause in pauses:
        now += pause
        assert ours.record(now) == otp.add_restart(now)
        assert ours.recent(now) == len(otp.restarts)


@hypothesis.given(st.integers(1, 6), EIGHTHS.filter(bool), st.lists(EIGHTHS, max_size=40), EIGHTHS)
def test_looking_at_the_window_changes_no_decision(
    max_restarts: int, within: float, pauses: list[float], glance: float
) -> None:
    """`recent` may be asked at any time and only tells."""
    asked, left_alone, now = Intensity(max_restarts, within), Intensity(max_restarts, within), 1000.0
    for pause in pauses:
        asked.recent(now + min(glance, pause))
        now += pause
        assert asked.record(now) == left_alone.record(now)


def test_a_restart_exactly_at_the_edge_still_counts() -> None:
    """A restart that is exactly `within` seconds old counts, and one just older does not."""
    at_the_edge, beyond = Intensity(1, 10), Intensity(1, 10)
    assert at_the_edge.record(0)
    assert not at_the_edge.record(10)
    assert beyond.record(0)
    assert beyond.record(10.001)


def test_the_window_slides() -> None:
    """A child that fails just rarely enough is restarted for ever."""
    intensity = Intensity(2, 10)
    assert all(intensity.record(5.001 * number) for number in range(1000))
    assert intensity.recent(5.001 * 999 + 100) == 0


@pytest.mark.parametrize("max_restarts", [1, 3])
async def test_one_restart_too_many_is_the_last(max_restarts: int) -> None:
    """A supervisor restarts its child as often as allowed, and gives up at the next failure, with its cause."""
    clock, log = FakeClock(), EventLog()
    node = Child("x", Puppet, backoff=Backoff(first=1, factor=1, jitter=0))
    errors = [ValueError(str(number)) for number in range(max_restarts + 1)]
    with pytest.raises(GaveUp, match="root: x failed") as caught:  # noqa: PT012 - raised at the end of the block
        async with running(Supervisor("root", [node], max_restarts=max_restarts), clock=clock, log=log):
            for error in errors:
                crash(node.ref, error)
                await clock.advance(1)
    assert caught.value.__cause__ is errors[-1]
    assert [event.restarts for event in log.of(ChildRestarting)] == list(range(1, max_restarts + 1))
    assert log.of(SupervisorGaveUp) == [SupervisorGaveUp("root", "x", max_restarts, 60.0)]


async def test_the_window_is_shared_by_all_children() -> None:
    """Restarts of different children count together."""
    clock, log = FakeClock(), EventLog()
    nodes = [Child(name, Puppet) for name in "abc"]
    with pytest.raises(GaveUp):  # noqa: PT012 - as above
        async with running(Supervisor("root", nodes, max_restarts=2), clock=clock, log=log):
            for node in nodes:
                crash(node.ref, RuntimeError())
                await clock.advance(0)
    assert len(log.of(ChildRestarting)) == 2


def test_a_backoff_that_outlasts_the_window_is_refused() -> None:
    """A supervisor whose delays alone fill its window could never give up, and says so when it is made."""
    slow = Child("x", Puppet, backoff=Backoff(first=10, cap=100))
    with pytest.raises(ConfigError, match=r"'x': this supervisor can never give up: 5 restarts .* within is 60 s"):
        Supervisor("root", [slow])
