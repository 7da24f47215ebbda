"""Holds `after` to its promise: a message comes later, and only to the incarnation that asked for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.child import Child
from supervisor.tree.events import DeadLetter
from tests.unit.loops import Loop, loop
from tests.unit.puppet import Do, Please, Puppet, echo

if TYPE_CHECKING:
    from supervisor.tree.clock import Timer


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
