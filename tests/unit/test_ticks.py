"""Holds `every` to its promise: a fixed schedule, and a stop that ends it."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.testing import FakeClock, running, settle
from supervisor.tree.child import Child, Restart
from supervisor.tree.signal import Signal
from tests.unit.loops import Loop, loop, stops_while_draining, ticking
from tests.unit.puppet import pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.clock import Timer


# --- every --------------------------------------------------------------------------------------------


async def test_every_ticks_at_once_and_then_on_schedule() -> None:
    """The first tick comes at once and the others at whole periods after it."""
    clock, times = FakeClock(), list[float]()
    async with running(ticking(times, 2.0), clock=clock):
        await settle()
        assert times == [0]
        await clock.advance(7)
    assert times == [0, 2, 4, 6]


async def test_slow_work_does_not_shift_the_schedule() -> None:
    """Ticks keep to their schedule however long the body takes, as long as it is below the period."""
    clock, times = FakeClock(), list[float]()
    async with running(ticking(times, 1.0, work=0.75), clock=clock):
        await clock.advance(4.5)
    assert times == [0, 1, 2, 3, 4]


async def test_missed_ticks_are_skipped() -> None:
    """A body that takes longer than the period misses ticks, and none is made up for."""
    clock, times = FakeClock(), list[float]()
    async with running(ticking(times, 1.0, work=2.5), clock=clock):
        await clock.advance(9.5)
    assert times == [0, 3, 6, 9]


async def test_a_blocked_loop_makes_no_burst() -> None:
    """After an hour without a turn of the loop there is one tick, not thousands."""
    clock, times = FakeClock(), list[float]()
    async with running(ticking(times, 1.0), clock=clock):
        await settle()
        clock._now += 3600.5
        await clock.advance(1)
    assert times == [0, 3600.5, 3601]


class Hasty(FakeClock):
    """A clock whose timers fire a little early, as uvloop's do: it counts in whole milliseconds."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        return super().call_later(delay - 0.0005, callback)


@pytest.mark.parametrize("kind", [FakeClock, Hasty])
@pytest.mark.parametrize("seconds", [1.0, 0.1, 1 / 3, 0.7])
async def test_a_timer_that_fires_early_makes_no_double_tick(kind: type[FakeClock], seconds: float) -> None:
    """There is one tick for each period, although neither floats nor the loop's timers are exact."""
    clock, times = kind(1000.1), list[float]()
    began = clock.now()

    async def body(actor: Loop) -> None:
        async for _ in actor.every(seconds):
            times.append((actor.clock.now() - began) / seconds)
            if len(times) > 100:
                break
        await actor.sleep(math.inf)

    async with running(loop(body), clock=clock):
        await clock.advance(50.5 * seconds)
    assert [round(time) for time in times] == list(range(51))
    assert times == pytest.approx(range(51), abs=0.01)


@pytest.mark.parametrize("jitter", [0.1, 0.5])
async def test_jitter_moves_each_tick_and_not_the_schedule(jitter: float) -> None:
    """With jitter each tick lies within that fraction of a period of its place, for ever."""
    clock, times = FakeClock(), list[float]()
    async with running(ticking(times, 4.0, jitter=jitter), clock=clock):
        await clock.advance(402)
    assert len(times) >= 100
    offsets = [time - 4 * number for number, time in enumerate(times)]
    assert all(abs(offset) <= 4 * jitter + 1e-9 for offset in offsets)
    assert len(set(offsets)) > 50


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
async def test_a_period_must_be_one(seconds: float) -> None:
    """`every` refuses a period that is none, and names it."""
    errors: list[str] = []

    async def body(actor: Loop) -> None:
        with pytest.raises(ValueError, match=r"positive, finite") as caught:
            actor.every(seconds)
        errors.append(str(caught.value))

    async with running(Child("loop", lambda: Loop(body), restart=Restart.TRANSIENT)):
        await settle()
    assert errors == [f"every({seconds}): the period must be a positive, finite number of seconds"]


@pytest.mark.parametrize("jitter", [-0.1, 1.0, math.nan])
async def test_a_jitter_is_a_fraction(jitter: float) -> None:
    """`every` refuses a jitter below 0, or of 1 and more."""
    refused: list[bool] = []

    async def body(actor: Loop) -> None:
        with pytest.raises(ValueError, match=rf"jitter={jitter}"):
            actor.every(1, jitter=jitter)
        refused.append(True)

    async with running(Child("loop", lambda: Loop(body), restart=Restart.TRANSIENT)):
        await settle()
    assert refused


# --- wake ---------------------------------------------------------------------------------------------


async def test_a_wake_makes_a_tick_at_once() -> None:
    """A set during the wait is a tick at once; many sets are one tick."""
    clock, times, wake = FakeClock(), list[float](), Signal()
    async with running(ticking(times, 10.0, wake=wake), clock=clock):
        await clock.advance(3)
        for _ in range(5):
            wake.set()
        await clock.advance(1)
        assert times == [0, 3]
        assert not wake


async def test_a_wake_during_the_body_is_another_tick() -> None:
    """A set while the body runs is seen by a tick right after it."""
    clock, times, wake = FakeClock(), list[float](), Signal()
    async with running(ticking(times, 10.0, work=2.0, wake=wake), clock=clock):
        await clock.advance(1)
        wake.set()
        await clock.advance(1.5)
    assert times == [0, 2]


async def test_a_wake_before_the_first_tick_is_seen_by_it() -> None:
    """A set before the loop begins makes no tick beyond the first."""
    clock, times, wake = FakeClock(), list[float](), Signal()
    wake.set()
    async with running(ticking(times, 10.0, wake=wake), clock=clock):
        await clock.advance(5)
    assert times == [0]


async def test_wakes_do_not_displace_the_schedule() -> None:
    """Ticks that a signal makes come on top: the poll beside it keeps to its schedule."""
    clock, times, wake = FakeClock(), list[float](), Signal()
    async with running(ticking(times, 1.0, wake=wake), clock=clock):
        for _ in range(3):
            await clock.advance(0.25)
            wake.set()
        await clock.advance(3.5)
    assert times == [0, 0.25, 0.5, 0.75, 1, 2, 3, 4]


@hypothesis.given(st.lists(st.floats(0.03125, 2, width=16), max_size=15))
async def test_no_pattern_of_wakes_silences_the_poll(pauses: list[float]) -> None:
    """However often it is woken, a loop never goes without a tick for longer than its period."""
    clock, times, wake = FakeClock(), list[float](), Signal()
    async with running(ticking(times, 1.0, wake=wake), clock=clock):
        for pause in pauses:
            await clock.advance(pause)
            wake.set()
        await clock.advance(2.5)
        times.append(clock.now() - 1000)
    assert max(after - before for before, after in pairwise(times)) <= 1.0 + 1e-9


# --- ends at stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [0.0, 0.5])
async def test_a_stop_ends_the_ticks(wait: float) -> None:
    """A loop over `every` ends when the actor is to stop, without another tick."""
    times: list[float] = []
    assert await stops_while_draining(ticking(times, 100.0), FakeClock(), wait)
    assert times == [0]


async def test_a_stop_during_the_body_ends_the_ticks() -> None:
    """A loop over `every` ends after a body during which the stop came."""
    bodies = 0

    async def body(actor: Loop) -> None:
        nonlocal bodies
        async for _ in actor.every(100):
            bodies += 1
            await pause(actor, 11)

    assert await stops_while_draining(loop(body), FakeClock(), 10)
    assert bodies == 1


async def test_a_stop_during_a_sleep_in_the_body_ends_the_ticks() -> None:
    """A loop over `every` ends although the stop has cut a sleep in its body short already."""
    times: list[float] = []
    assert await stops_while_draining(ticking(times, 100.0, work=50.0), FakeClock(), 10)
    assert times == [0]


async def test_a_stop_ends_two_loops_of_one_actor() -> None:
    """An actor with two loops over `every` ends both, one that waits and one that is in its body."""

    async def waits(actor: Loop) -> None:
        async for _ in actor.every(100):
            pass

    async def works(actor: Loop) -> None:
        async for _ in actor.every(100):
            await pause(actor, 11)

    async def body(actor: Loop) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits(actor))
            group.create_task(works(actor))

    assert await stops_while_draining(loop(body), FakeClock(), 10)


# --- spread -------------------------------------------------------------------------------------------


async def test_hosts_that_start_together_do_not_poll_together() -> None:
    """With `spread` the first tick comes after a random time within it, and the schedule counts from there."""
    starts = set[float]()
    for seed in range(8):
        clock, times = FakeClock(now=0), list[float]()
        async with running(ticking(times, 5.0, spread=1.0), clock=clock, seed=seed):
            await clock.advance(7)
        assert 0 <= times[0] < 1
        assert times[1] == pytest.approx(times[0] + 5)
        starts.add(times[0])
    assert len(starts) == 8


@pytest.mark.parametrize("spread", [-1, math.nan, math.inf])
async def test_a_spread_must_be_a_time(spread: float) -> None:
    """A spread that is no span of time is refused with its value."""

    async def body(actor: Loop) -> None:
        with pytest.raises(ValueError, match="spread"):
            actor.every(1.0, spread=spread)

    async with running(Child("loop", lambda: Loop(body), restart=Restart.TRANSIENT), clock=FakeClock()):
        await settle()
