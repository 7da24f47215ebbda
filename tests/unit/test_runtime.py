"""Holds what a tree shares to its promise: a broken subscriber, or a broken hook, harms nobody."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError
from supervisor.testing import EventLog, FakeClock, Slow, Stubborn, crash, running, settle
from supervisor.tree.child import Child
from supervisor.tree.clock import NEVER, SystemClock
from supervisor.tree.events import (
    ChildAbandoned,
    ChildExited,
    ChildStarted,
    DeadLetter,
    DeadLetterReason,
    Event,
    ExitRequested,
    StopStage,
)
from supervisor.tree.outcome import Shutdown, Stage
from supervisor.tree.runtime import Deadline, Runtime
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Puppet

if TYPE_CHECKING:
    from collections.abc import Callable


def broken(_: Event) -> None:
    """Fail on every event."""
    raise ZeroDivisionError


# --- subscribers --------------------------------------------------------------------------------------


def test_every_subscriber_gets_every_event_in_order() -> None:
    """Subscribers are called in the order in which they subscribed, with each event from then on."""
    runtime, seen = Runtime(), list[tuple[str, str]]()
    runtime.emit(Event("before"))
    runtime.subscribe(lambda event: seen.append(("first", event.path)))
    runtime.emit(Event("a"))
    runtime.subscribe(lambda event: seen.append(("second", event.path)))
    runtime.emit(Event("b"))
    assert seen == [("first", "a"), ("first", "b"), ("second", "b")]


def test_who_unsubscribes_is_told_no_more() -> None:
    """`unsubscribe` takes back one `subscribe`."""
    runtime, log = Runtime(), list[Event]()
    runtime.subscribe(log.append)
    runtime.emit(Event("a"))
    runtime.unsubscribe(log.append)
    runtime.emit(Event("b"))
    assert log == [Event("a")]


def test_a_broken_subscriber_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A subscriber that raises is logged with its traceback, and those after it are still told."""
    runtime, log = Runtime(), list[Event]()
    runtime.subscribe(broken)
    runtime.subscribe(log.append)
    with caplog.at_level(logging.ERROR):
        runtime.emit(Event("a"))
    assert log == [Event("a")]
    (record,) = caplog.records
    assert record.getMessage() == "a subscriber failed on Event"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_broken_subscriber_does_not_harm_the_tree(caplog: pytest.LogCaptureFixture) -> None:
    """A tree starts, restarts and stops as usual although its subscriber raises on every event."""
    clock, log = FakeClock(), EventLog()
    node = Child("x", Puppet)
    async with running(Supervisor("root", [node]), clock=clock) as tree:
        tree.runtime.subscribe(broken)
        tree.runtime.subscribe(log)
        crash(node.ref, RuntimeError())
        await clock.advance(1)
        assert len(log.of(ChildStarted, name="x")) == 1
    assert len(log.of(ChildExited, name="x")) == 2
    assert len(caplog.records) == len(log.events)


def test_a_subscriber_may_unsubscribe_while_it_is_told() -> None:
    """A subscriber that has seen what it waited for may leave, and no other misses the event."""
    runtime, log = Runtime(), list[Event]()

    def once(event: Event) -> None:
        runtime.unsubscribe(once)
        log.append(event)

    runtime.subscribe(once)
    runtime.subscribe(log.append)
    runtime.emit(Event("a"))
    runtime.emit(Event("b"))
    assert log == [Event("a"), Event("a"), Event("b")]


def test_a_subscriber_may_subscribe_another_while_it_is_told() -> None:
    """A subscriber that is added during an event is told of the next one at the latest."""
    runtime, log = Runtime(), list[Event]()

    def adds(_: Event) -> None:
        if runtime._subscribers[-1] != log.append:
            runtime.subscribe(log.append)

    runtime.subscribe(adds)
    runtime.emit(Event("a"))
    runtime.emit(Event("b"))
    assert log[-1] == Event("b")


def test_a_subscriber_may_cause_events() -> None:
    """A dead letter that a subscriber makes while it is told of an event is an event like any other."""
    runtime, log = Runtime(), list[Event]()

    def buries(event: Event) -> None:
        log.append(event)
        if not isinstance(event, DeadLetter):
            runtime.bury("x", "m", DeadLetterReason.CLOSED)

    runtime.subscribe(buries)
    runtime.emit(Event("a"))
    assert log == [Event("a"), DeadLetter("x", DeadLetterReason.CLOSED, "m")]


# --- exit requests ------------------------------------------------------------------------------------


def test_an_exit_request_is_an_event_and_a_call() -> None:
    """A request to exit reaches the subscribers and the one who runs the tree, if there is one."""
    runtime, log, codes = Runtime(), list[Event](), list[int]()
    runtime.subscribe(log.append)
    runtime.request_exit("root/x", 3)
    runtime.on_exit_request = codes.append
    runtime.request_exit("root/y", 4)
    assert log == [ExitRequested("root/x", 3), ExitRequested("root/y", 4)]
    assert codes == [4]


# --- the deadline of the shutdown ---------------------------------------------------------------------


def test_a_deadline_only_comes_closer() -> None:
    """A deadline is infinite at first, and `tighten` never moves it back."""
    deadline = Deadline()
    assert (deadline.drain_by, deadline.end_by) == (math.inf, math.inf)
    for drain_by, end_by in ((20, 30), (10, 40), (15, 25)):
        deadline.tighten(drain_by, end_by)
    assert (deadline.drain_by, deadline.end_by) == (10, 25)


async def test_a_deadline_cuts_the_stops_under_way() -> None:
    """A deadline that is brought forward ends the drain of a child that is stopping already."""
    clock, log = FakeClock(), EventLog()
    async with running(Supervisor("root", [Child("x", Slow, stop_timeout=1000)]), clock=clock, log=log) as tree:
        tree.stop()
        await clock.advance(1)
        tree.runtime.deadline.tighten(clock.now() + 2, clock.now() + 10)
        await clock.advance(1)
        assert log.of(StopStage, name="x", stage=Stage.CANCELLING) == []
        await clock.advance(1)
        assert log.of(ChildExited, name="x", outcome=Shutdown(Stage.CANCELLING))


async def test_nothing_outlives_the_end_of_the_deadline() -> None:
    """What still runs at the end of the deadline is abandoned, however long its own limits are."""
    clock, log, stubborn = FakeClock(), EventLog(), Stubborn()
    child = Child("x", lambda: stubborn, stop_timeout=1000, cancel_grace=1000)
    async with running(Supervisor("root", [child]), clock=clock, log=log) as tree:
        tree.stop()
        await clock.advance(1)
        tree.runtime.deadline.tighten(clock.now() + 1, clock.now() + 2)
        await clock.advance(3)
        assert len(log.of(ChildAbandoned, name="x")) == 1
        assert tree.runtime.stuck_under("root")
        stubborn.release()
        while tree.runtime.abandoned:
            await settle()
        assert not tree.runtime.stuck_under("root")


async def test_stuck_under_means_at_or_below_a_path() -> None:
    """An abandoned child makes its own path and those above it stuck, not others that begin alike."""
    clock, stubborn = FakeClock(), Stubborn()
    child = Child("x", lambda: stubborn)
    async with running(Supervisor("root", [Supervisor("a", [child])]), clock=clock) as tree:
        tree.stop()
        await clock.advance(20)
        stuck = {path: tree.runtime.stuck_under(path) for path in ("root", "root/a", "root/a/x", "root/a/xx", "ro")}
        stubborn.release()
        while tree.runtime.abandoned:
            await settle()
    assert stuck == {"root": True, "root/a": True, "root/a/x": True, "root/a/xx": False, "ro": False}


# --- clock and places ---------------------------------------------------------------------------------


async def test_the_system_clock_calls_back() -> None:
    """The system's clock never goes back, runs what is due, and never what lies at infinity."""
    clock, called = SystemClock(), list[int]()
    before = clock.now()
    timer, never = clock.call_later(0, lambda: called.append(1)), clock.call_later(math.inf, lambda: called.append(2))
    gone = clock.call_later(0, lambda: called.append(3))
    gone.cancel()
    while not called:
        await settle()
    timer.cancel()
    never.cancel()
    assert never is NEVER
    assert called == [1]
    assert clock.now() >= before


async def test_a_child_has_one_place() -> None:
    """A child that runs in one tree cannot be started in another, and can again when the first has ended."""
    child = Child("x", Puppet)
    async with running(Supervisor("root", [child])):
        other = Supervisor("other", [])
        async with running(other):
            with pytest.raises(ConfigError, match="other/x: this child is running in another place"):
                await other.add_child(child)
    async with running(Supervisor("root", [child])):
        await child.ref.tell("works")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_fixes_the_jitter(seed: int) -> None:
    """Two runtimes with one seed draw the same numbers."""
    draw: Callable[[], list[float]] = lambda: [Runtime(seed=seed).random.random() for _ in range(5)]  # noqa: E731
    assert draw() == draw()
