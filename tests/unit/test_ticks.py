"""Holds the timers of an actor to their promise: a fixed schedule, and a stop that ends every wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Never

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Restart
from supervisor.tree.events import ChildExited, DeadLetter
from supervisor.tree.outcome import Shutdown, Stage
from supervisor.tree.signal import Signal
from tests.unit.puppet import Do, Please, Puppet, echo, pause

if TYPE_CHECKING:
    from supervisor.tree.clock import Timer

Body = Callable[["Loop"], Awaitable[object]]


class Loop(Actor[Never]):
    """Runs what the test gives it; most give it a loop over `every`."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def run(self) -> None:
        await self.body(self)


def loop(body: Body) -> Child[Never]:
    """Declare an actor with this loop."""
    return Child("loop", lambda: Loop(body))


def ticking(  # noqa: PLR0913 - one place for what tests vary
    times: list[float],
    seconds: float,
    *,
    work: float = 0,
    jitter: float = 0,
    spread: float = 0,
    wake: Signal | None = None,
) -> Child[Never]:
    """Declare an actor that ticks, notes the seconds since its start, and works for a while."""

    async def body(actor: Loop) -> None:
        began = actor.clock.now()
        async for _ in actor.every(seconds, jitter=jitter, spread=spread, wake=wake):
            times.append(actor.clock.now() - began)
            if work:
                await actor.sleep(work)

    return loop(body)


async def stops_while_draining(child: Child[Never], clock: FakeClock, seconds: float) -> bool:
    """Run the child for a while, stop it, and say whether it ended without a cancel."""
    log = EventLog()
    async with running(child, clock=clock, log=log):
        await clock.advance(seconds)
    (exited,) = log.of(ChildExited, name=child.name)
    return exited.outcome == Shutdown(Stage.DRAINING)


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


# --- sleep --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3.0])
async def test_sleep_lasts_as_long_as_asked(seconds: float) -> None:
    """`sleep` lasts its seconds, and nothing at all when these are 0 or less."""
    clock, woke = FakeClock(), list[float]()

    async def body(actor: Loop) -> None:
        await actor.sleep(seconds)
        woke.append(actor.clock.now())
        await actor.sleep(1000)

    async with running(loop(body), clock=clock):
        await clock.advance(10)
    assert woke == [1000 + max(0.0, seconds)]


async def test_a_signal_ends_a_sleep() -> None:
    """`sleep` ends early when its signal is set, and clears it; a set from before ends it at once."""
    clock, wake, woke = FakeClock(), Signal(), list[float]()

    async def body(actor: Loop) -> None:
        for _ in range(2):
            await actor.sleep(100, wake)
            woke.append(actor.clock.now() - 1000)
        await actor.sleep(1000, wake)

    wake.set()
    async with running(loop(body), clock=clock):
        await clock.advance(4)
        wake.set()
        await clock.advance(1)
        assert not wake
    assert woke == [0, 4]


@pytest.mark.parametrize("seconds", [1.0, 1000.0])
async def test_a_stop_ends_a_sleep(seconds: float) -> None:
    """A sleep under way ends when the actor is to stop, so that no cancel is needed."""

    async def body(actor: Loop) -> None:
        while not actor.stopping:
            await actor.sleep(seconds)

    assert await stops_while_draining(loop(body), FakeClock(), 2.5)


async def test_a_stop_ends_the_first_sleep_after_it() -> None:
    """The first sleep that begins after the request to stop is cut short as well."""

    async def body(actor: Loop) -> None:
        await pause(actor, 11)
        assert actor.stopping
        await actor.sleep(1000)

    assert await stops_while_draining(Child("loop", lambda: Loop(body), stop_timeout=5), FakeClock(), 10)


@pytest.mark.parametrize("work", [0.0, 2.0])
async def test_a_loop_that_ignores_the_stop_is_no_busy_loop(work: float) -> None:
    """Only one sleep is cut short: a loop that never looks at `stopping` sleeps on, until it is cancelled."""
    rounds = 0

    async def body(actor: Loop) -> None:
        nonlocal rounds
        await pause(actor, work)
        while True:
            rounds += 1
            await actor.sleep(2)

    assert not await stops_while_draining(Child("loop", lambda: Loop(body), stop_timeout=5), FakeClock(), 1)
    assert rounds <= 4


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


# --- after --------------------------------------------------------------------------------------------


def set_timer(seconds: float, message: str, timers: list[Timer] | None = None) -> Do:
    """Tell a puppet to send itself a message later."""

    async def act(puppet: Puppet) -> None:
        timer = puppet.after(seconds, message)
        if timers is not None:
            timers.append(timer)

    return Do(act)


async def test_after_sends_a_message_later() -> None:
    """`after` delivers its message to the actor itself when the seconds have passed, once."""
    clock, heard = FakeClock(), list[object]()
    async with running(Child("x", lambda: Puppet(heard)), clock=clock) as ref:
        await ref.tell(set_timer(2, "b"))
        await ref.tell(set_timer(1, "a"))
        await clock.advance(0.5)
        assert heard == []
        await clock.advance(10)
    assert heard == ["a", "b"]


async def test_after_can_be_taken_back() -> None:
    """A cancelled timer sends nothing, and a cancel after the fact does nothing."""
    clock, heard, timers = FakeClock(), list[object](), list["Timer"]()
    async with running(Child("x", lambda: Puppet(heard)), clock=clock) as ref:
        await ref.tell(set_timer(1, "a", timers))
        await ref.tell(set_timer(2, "b", timers))
        await settle()
        timers[0].cancel()
        await clock.advance(3)
        timers[0].cancel()
        timers[1].cancel()
    assert heard == ["b"]


async def test_after_goes_beyond_the_bound() -> None:
    """A timer's message is delivered even when the mailbox is full: the actor could not make room for it."""
    clock, heard = FakeClock(), list[object]()
    go = asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async with running(Child("x", lambda: Puppet(heard), capacity=1), clock=clock) as ref:
        await ref.tell(set_timer(1, "timer"))
        await settle()
        await ref.tell(Do(block))
        await settle()
        await ref.tell("fills the mailbox")
        await clock.advance(1)
        go.set()
        await settle()
    assert heard == ["fills the mailbox", "timer"]


async def test_a_timer_ends_with_its_incarnation() -> None:
    """The timer of an incarnation that has crashed sends nothing to the next one."""
    clock, heard = FakeClock(), list[object]()
    async with running(Child("x", lambda: Puppet(heard)), clock=clock) as ref:
        await ref.tell(set_timer(2, "late"))
        await settle()
        crash(ref, RuntimeError())
        await clock.advance(10)
        assert await ref.ask(Please, echo) == "echo"
    assert heard == []


async def test_a_timer_set_after_the_end_sends_nothing() -> None:
    """An actor object that outlives its incarnation can send nothing to the next one by a timer."""
    clock, heard, log, old = FakeClock(), list[object](), EventLog(), list[Puppet]()

    async def remember(puppet: Puppet) -> None:
        old.append(puppet)

    async with running(Child("x", lambda: Puppet(heard)), clock=clock, log=log) as ref:
        await ref.tell(Do(remember))
        await settle()
        crash(ref, RuntimeError())
        await clock.advance(1)
        old[0].after(1, "from the grave")
        await clock.advance(2)
    assert heard == []


async def test_a_fired_timer_is_for_its_own_incarnation() -> None:
    """A timer's message that waits in the mailbox when its incarnation crashes does not reach the next one."""
    clock, heard, go = FakeClock(), list[object](), asyncio.Event()

    async def crash_later(_: Puppet) -> None:
        await go.wait()
        raise ValueError

    async with running(Child("x", lambda: Puppet(heard)), clock=clock) as ref:
        await ref.tell(set_timer(1, "mine"))
        await ref.tell(Do(crash_later))
        await clock.advance(2)
        go.set()
        await clock.advance(1)
        assert await ref.ask(Please, echo) == "echo"
    assert heard == []


async def test_a_timer_that_fires_during_a_stop_leaves_a_dead_letter() -> None:
    """A timer's message for an actor that is stopping already is buried as closed."""
    clock, log, go = FakeClock(), EventLog(), asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async with running(Child("x", Puppet, stop_timeout=3), clock=clock, log=log) as ref:
        await ref.tell(set_timer(2, "late"))
        await ref.tell(Do(block))
        await clock.advance(1)
    assert ("late", "closed") in [(letter.message, letter.reason.value) for letter in log.of(DeadLetter)]


async def test_an_actor_that_ends_leaves_no_timer() -> None:
    """When an actor has ended, none of its sleeps, ticks and messages waits on the clock any more."""
    clock = FakeClock()

    async def body(actor: Loop) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(actor.sleep(1000))
            async for _ in actor.every(1000):
                await actor.sleep(0)

    async with running(Child("x", Puppet), clock=clock) as ref:
        await ref.tell(set_timer(1000, "never"))
        await settle()
    async with running(loop(body), clock=clock):
        await settle()
    assert clock.pending == 0


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
