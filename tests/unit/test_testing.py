"""Holds the kit for users' tests to its promise: a clock one turns, events one waits for, errors one sees."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import GaveUp, StartFailed, StartTimeout
from supervisor.testing import (
    BadSetup,
    Blocking,
    EventLog,
    FakeClock,
    Shielded,
    Slow,
    Stubborn,
    crash,
    running,
    settle,
)
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.events import ChildAbandoned, ChildExited, ChildRestarting, ChildStarted, DeadLetter, Event
from supervisor.tree.outcome import Crashed, Outcome, Shutdown, Stage
from supervisor.tree.supervisor import Supervisor
from supervisor.tree.tree import Tree
from tests.unit.puppet import Please, Puppet, echo

if TYPE_CHECKING:
    from supervisor.tree.clock import Timer


# --- FakeClock ----------------------------------------------------------------------------------------


async def test_the_clock_stands_still() -> None:
    """Time passes only when it is advanced, however often the loop turns."""
    clock = FakeClock(now=5)
    await settle()
    assert clock.now() == 5
    await clock.advance(2.5)
    assert clock.now() == 7.5


async def test_timers_fire_in_order_and_on_time() -> None:
    """Timers fire in the order of their times, those for the same time in the order they were set."""
    clock, fired = FakeClock(now=0), list[tuple[str, float]]()

    def note(name: str) -> None:
        fired.append((name, clock.now()))

    for name, delay in (("late", 3), ("early", 1), ("second early", 1), ("now", 0), ("past", -5)):
        clock.call_later(delay, lambda name=name: note(name))  # type: ignore[misc]
    assert fired == []
    await clock.advance(0)
    assert fired == [("now", 0), ("past", 0)]
    await clock.advance(10)
    assert fired[2:] == [("early", 1), ("second early", 1), ("late", 3)]
    assert clock.now() == 10


async def test_a_timer_at_the_edge_fires() -> None:
    """A timer for exactly the moment to which the clock is advanced fires, and one just after it does not."""
    clock, fired = FakeClock(now=0), list[int]()
    clock.call_later(2, lambda: fired.append(1))
    clock.call_later(2.001, lambda: fired.append(2))
    await clock.advance(2)
    assert fired == [1]


async def test_a_cancelled_timer_never_fires() -> None:
    """A timer can be cancelled before, after, and by another timer at the same moment."""
    clock, fired, timers = FakeClock(), list[str](), dict[str, "Timer"]()
    timers["a"] = clock.call_later(1, lambda: timers.pop("b").cancel())
    timers["b"] = clock.call_later(1, lambda: fired.append("b"))
    timers["c"] = clock.call_later(2, lambda: fired.append("c"))
    timers["d"] = clock.call_later(2, lambda: fired.append("d"))
    timers["c"].cancel()
    timers["c"].cancel()
    await clock.advance(5)
    timers["d"].cancel()
    assert fired == ["d"]


async def test_the_loop_settles_between_timers() -> None:
    """What one timer sets going has run, and has set its own timers, before the next timer fires."""
    clock, log = FakeClock(now=0), list[str]()

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            woken = asyncio.get_running_loop().create_future()
            clock.call_later(nap, lambda woken=woken: woken.set_result(None))  # type: ignore[misc]
            await woken
            log.append(f"{name}{clock.now():g}")

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("a", 1, 1, 1))
        group.create_task(sleeper("b", 2.5))
        await clock.advance(10)
    assert log == ["a1", "a2", "b2.5", "a3"]


async def test_pending_counts_what_waits() -> None:
    """`pending` counts the timers that have neither fired nor been cancelled, and none at infinity."""
    clock = FakeClock()
    timers = [clock.call_later(delay, list) for delay in (1, 2, 3, math.inf)]
    assert clock.pending == 3
    timers[1].cancel()
    timers[3].cancel()
    assert clock.pending == 2
    await clock.advance(1)
    assert clock.pending == 1
    await clock.advance(1e9)
    assert clock.pending == 0


async def test_the_clock_never_goes_back() -> None:
    """Neither a negative advance nor two at the same time turn the clock back."""
    clock = FakeClock(now=0)
    clock.call_later(1, list)
    async with asyncio.TaskGroup() as group:
        group.create_task(clock.advance(5))
        group.create_task(clock.advance(2))
    assert clock.now() >= 5
    before = clock.now()
    with suppress(ValueError):
        await clock.advance(-1)
    assert clock.now() == before


@hypothesis.given(st.lists(st.tuples(st.floats(0, 8, width=16), st.booleans()), max_size=20), st.floats(0, 8, width=16))
async def test_exactly_the_timers_that_are_due_fire(timers: list[tuple[float, bool]], until: float) -> None:
    """Of any timers, those fire that are due and not cancelled, each at its time, earliest first."""
    clock, fired = FakeClock(now=0), list[tuple[float, float]]()
    for delay, cancelled in timers:
        timer = clock.call_later(delay, lambda delay=delay: fired.append((delay, clock.now())))  # type: ignore[misc]
        if cancelled:
            timer.cancel()
    await clock.advance(until)
    due = sorted(delay for delay, cancelled in timers if delay <= until and not cancelled)
    assert fired == [(delay, delay) for delay in due]


# --- EventLog -----------------------------------------------------------------------------------------


async def test_the_log_remembers_and_selects() -> None:
    """`of` returns the events of one kind whose fields have the values asked for."""
    log = EventLog()
    events = [
        ChildStarted("root/a", 1, 0.0),
        ChildStarted("root/a", 2, 0.0),
        ChildStarted("root/b", 1, 0.0),
        Event("x"),
    ]
    for event in events:
        log(event)
    assert log.events == events
    assert log.of(ChildStarted) == events[:3]
    assert log.of(Event) == events
    assert log.of(ChildStarted, name="a", generation=2) == [events[1]]
    assert log.of(ChildStarted, path="root/b") == [events[2]]
    assert log.of(ChildExited) == []


async def test_expect_returns_what_has_happened() -> None:
    """`expect` returns a past event at once: the first, or the one asked for by `count`."""
    log = EventLog()
    for generation in (1, 2):
        log(ChildStarted("root/a", generation, 0.0))
    assert (await log.expect(ChildStarted)).generation == 1
    assert (await log.expect(ChildStarted, count=2, limit=0)).generation == 2


async def test_expect_waits_for_what_will_happen() -> None:
    """`expect` waits through other events until the right one has come often enough; many may wait."""
    log = EventLog()
    async with asyncio.TaskGroup() as group:
        second = group.create_task(log.expect(ChildStarted, count=2, name="a"))
        other = group.create_task(log.expect(ChildStarted, name="b"))
        for path in ("root/a", "root/c", "root/b"):
            await settle()
            log(ChildStarted(path, 1, 0.0))
        await settle()
        assert other.result().path == "root/b"
        assert not second.done()
        log(ChildStarted("root/a", 2, 0.0))
        assert (await second).generation == 2


async def test_expect_says_what_was_missing_and_what_was_seen() -> None:
    """An `expect` in vain fails the test with what it wanted and every event there was."""
    log = EventLog()
    log(ChildStarted("root/a", 1, 0.0))
    log(Event("root/b"))
    with pytest.raises(AssertionError) as caught:
        await log.expect(ChildStarted, name="b", limit=0)
    message = str(caught.value)
    assert message.startswith("no ChildStarted with {'name': 'b'} within 0 s; events:")
    assert message.splitlines()[1:] == [f"  {event!r}" for event in log.events]
    assert caught.value.__cause__ is None


async def test_expect_can_be_cancelled() -> None:
    """A test that gives up on `expect` leaves a log that works on."""
    log = EventLog()
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(log.expect(ChildStarted))
        await settle()
        waiter.cancel()
    log(ChildStarted("root/a", 1, 0.0))
    assert (await log.expect(ChildStarted, limit=0)).path == "root/a"


# --- running ------------------------------------------------------------------------------------------


async def test_running_a_child_yields_its_ref() -> None:
    """A child runs for the length of the block, under a root of its own."""
    log = EventLog()
    child = Child("x", Puppet)
    async with running(child, log=log) as ref:
        assert ref == child.ref
        assert await ref.ask(Please, echo) == "echo"
    assert log.of(ChildExited, path="root/x", outcome=Shutdown(Stage.DRAINING))


async def test_running_a_tree_yields_the_tree() -> None:
    """A supervisor runs for the length of the block, and the tree can be looked at."""
    async with running(Supervisor("shop", [Child("x", Puppet)])) as tree:
        assert isinstance(tree, Tree)
        assert [node.path for node in tree.snapshot().walk()] == ["shop", "shop/x"]
    assert tree.outcome == Shutdown(Stage.DRAINING)


async def test_running_raises_what_kept_the_tree_from_starting() -> None:
    """A child that does not start is a StartFailed with its cause, and the block is not entered."""
    error = ValueError("why")
    entered = False
    with pytest.raises(StartFailed, match="root/x failed to start") as caught:
        async with running(Child("x", lambda: BadSetup(error))):
            entered = True
    assert caught.value.__cause__ is error
    assert not entered


async def test_a_start_that_takes_too_long_can_be_turned_on() -> None:
    """Under a fake clock a test turns the clock itself while `running` waits for the start."""

    class Never(Actor[object]):
        async def setup(self) -> None:
            await self.sleep(1e9)

    clock = FakeClock()

    async def start() -> StartFailed:
        with pytest.raises(StartFailed) as caught:
            async with running(Child("x", Never, start_timeout=3), clock=clock):
                pass
        return caught.value

    async with asyncio.TaskGroup() as group:
        task = group.create_task(start())
        await clock.advance(2.5)
        assert not task.done()
        await clock.advance(5)
        assert isinstance(task.result().__cause__, StartTimeout)


async def test_running_raises_what_ended_the_tree() -> None:
    """A tree that gave up during the block makes the block fail at its end."""
    clock, log = FakeClock(), EventLog()
    with pytest.raises(GaveUp):  # noqa: PT012 - raised at the end of the block
        async with running(Child("x", Puppet), clock=clock, log=log) as ref:
            for _ in range(6):
                crash(ref, RuntimeError())
                await clock.advance(5)
    assert len(log.of(ChildRestarting)) == 5


async def test_the_blocks_own_error_comes_first() -> None:
    """An error of the block is what the test sees, and the tree is stopped all the same."""
    clock, log = FakeClock(), EventLog()
    with pytest.raises(KeyError, match="own"):  # noqa: PT012 - the block is what is tested
        async with running(Child("x", Puppet), clock=clock, log=log) as ref:
            for _ in range(6):
                crash(ref, RuntimeError())
                await clock.advance(5)
            raise KeyError("own")
    assert log.of(ChildExited, path="root")


class StartsLate(Actor[object]):
    """Takes its time to start."""

    async def setup(self) -> None:
        await self.sleep(5)


@pytest.mark.parametrize("actor", [Puppet, StartsLate], ids=["in the block", "during the start"])
async def test_running_stops_the_tree_when_the_test_is_cancelled(actor: type[Actor[object]]) -> None:
    """A test that is cancelled, inside the block or before it, leaves no actor behind."""
    log = EventLog()

    async def test() -> None:
        async with running(Child("x", actor), log=log):
            await asyncio.get_running_loop().create_future()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(test())
        await settle()
        assert bool(log.of(ChildStarted, name="x")) == (actor is Puppet)
        task.cancel()
    assert task.cancelled()
    assert log.of(ChildExited, name="x")


@pytest.mark.parametrize("seed", [0, 1])
async def test_the_seed_fixes_the_delays(seed: int) -> None:
    """Two runs with the same seed wait the same times between restarts, and two seeds do not."""
    delays: list[list[float]] = []
    for chosen in (seed, seed, seed + 10):
        clock, log = FakeClock(), EventLog()
        async with running(Child("x", Puppet), clock=clock, log=log, seed=chosen) as ref:
            for _ in range(3):
                crash(ref, RuntimeError())
                await clock.advance(5)
        delays.append([event.delay for event in log.of(ChildRestarting)])
    assert delays[0] == delays[1] != delays[2]


# --- crash and the hostile actors ---------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("why"), asyncio.CancelledError(), BaseException("rude")])
async def test_crash_makes_the_actor_raise(error: BaseException) -> None:
    """`crash` ends an actor that waits, ahead of what is queued, with no message lost."""
    clock, log, heard = FakeClock(), EventLog(), list[object]()
    async with running(Child("x", lambda: Puppet(heard)), clock=clock, log=log) as ref:
        crash(ref, error)
        ref.tell_nowait("kept")
        await settle()
        assert isinstance(log.of(ChildExited, name="x")[0].outcome, Crashed)
        assert heard == []
        await clock.advance(1)
        assert heard == ["kept"]
    assert log.of(DeadLetter) == []


@pytest.mark.parametrize(
    ("actor", "outcome"), [(Slow, Shutdown(Stage.CANCELLING)), (Shielded, Shutdown(Stage.KILLING))]
)
async def test_hostile_actors_end_in_their_stage(actor: type[Actor[object]], outcome: Outcome) -> None:
    """`Slow` obeys a cancel, and `Shielded` only a native one."""
    log = EventLog()
    async with running(Child("x", actor), clock=FakeClock(), log=log):
        pass
    assert log.of(ChildExited, name="x", outcome=outcome)


async def test_stubborn_survives_everything_until_it_is_released() -> None:
    """`Stubborn` has to be abandoned, and ends when the test releases it."""
    log, stubborn = EventLog(), Stubborn()
    async with running(Supervisor("root", [Child("x", lambda: stubborn)]), clock=FakeClock(), log=log) as tree:
        pass
    assert len(log.of(ChildAbandoned, name="x")) == 1
    assert len(tree.runtime.abandoned) == 1
    stubborn.release()
    while tree.runtime.abandoned:
        await settle()


async def test_blocking_blocks() -> None:
    """`Blocking` holds the loop for as long as a message says, and goes on."""
    async with running(Child("x", Blocking)) as ref:
        await ref.tell(0.0)
        await ref.tell(0.001)
        await settle()
        assert len(ref.mailbox) == 0


async def test_bad_setup_has_an_error_of_its_own() -> None:
    """`BadSetup` needs no error to be given."""
    with pytest.raises(StartFailed) as caught:
        async with running(Child("x", BadSetup)):
            pass
    assert isinstance(caught.value.__cause__, RuntimeError)
