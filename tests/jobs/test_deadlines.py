"""One timer for all deadlines: each is heeded, in time, and a crowd of them costs little."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from supervisor.jobs.deadlines import LEAST_PAUSE, Deadlines
from supervisor.testing import FakeClock


class Late:
    """Something with a deadline, which remembers when it was told."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.told = math.inf


async def heeded(dues: list[float], until: float) -> list[Late]:
    """Run some deadlines and turn the clock."""
    clock = FakeClock(0.0)
    running = [Late(due) for due in dues]

    def late(each: Late) -> None:
        each.told, each.due = clock.now(), math.inf

    deadlines = Deadlines(clock, running, late)
    for each in running:
        deadlines.arm(each.due)
    await clock.advance(until)
    deadlines.close()
    return running


@given(st.lists(st.floats(0.0, 50.0), max_size=20))
async def test_each_is_heeded_in_time(dues: list[float]) -> None:
    """Each deadline is told once, not before it has come, and at most one pause after it."""
    for each, due in zip(await heeded(dues, 60.0), dues, strict=True):
        assert due <= each.told <= due + LEAST_PAUSE + 1e-6


async def test_a_crowd_of_deadlines_is_looked_through_seldom() -> None:
    """A thousand deadlines within a second cause no more looks than pauses fit into it."""
    clock = FakeClock(0.0)
    looks: list[float] = []

    class Counting(list[Late]):
        def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - as a list
            looks.append(clock.now())
            return super().__iter__()

    running = Counting(Late(number / 1000) for number in range(1000))
    deadlines = Deadlines(clock, running, lambda each: setattr(each, "due", math.inf))
    deadlines.arm(0.0)
    await clock.advance(2.0)
    assert len(set(looks)) <= 1 / LEAST_PAUSE + 2
    assert all(each.due == math.inf for each in list(running))


async def test_what_has_ended_is_forgotten() -> None:
    """A handler that has ended is not told, although its deadline was armed."""
    clock = FakeClock(0.0)
    running = {Late(5.0)}
    told: list[Late] = []
    deadlines = Deadlines(clock, running, told.append)
    deadlines.arm(5.0)
    running.clear()
    await clock.advance(10.0)
    assert told == []
    assert clock.pending == 0


async def test_a_closed_one_tells_nobody() -> None:
    """After the close no deadline is told."""
    clock = FakeClock(0.0)
    told: list[Late] = []
    deadlines = Deadlines(clock, {Late(5.0)}, told.append)
    deadlines.arm(5.0)
    deadlines.close()
    await clock.advance(10.0)
    assert told == []
