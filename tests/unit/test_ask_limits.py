"""Holds asks to their limits: an ask ends at its own, in whatever state the request is by then."""

from __future__ import annotations

import asyncio
from collections import Counter

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import AskTimeout
from supervisor.testing import EventLog, FakeClock, running, settle
from supervisor.tree.child import Child
from supervisor.tree.refs import ActorRef, Reply
from supervisor.tree.supervisor import Supervisor
from tests.unit.asking import dead, error_of
from tests.unit.puppet import Do, Please, Puppet, Told, echo, fail, nothing


@pytest.mark.parametrize(("limit", "expected"), [(None, 5.0), (0.5, 0.5), (64.0, 64.0)])
async def test_an_ask_ends_at_its_limit(limit: float | None, expected: float) -> None:
    """Without an answer an ask raises AskTimeout at its limit, 5 s by default, and no earlier."""
    clock = FakeClock()
    async with running(Child("x", Puppet), clock=clock) as ref, asyncio.TaskGroup() as group:
        asker = group.create_task(error_of(ref if limit is None else ref.within(limit), nothing))
        await clock.advance(expected - 0.125)
        assert not asker.done()
        await clock.advance(0.125)
        error = asker.result()
        assert isinstance(error, AskTimeout)
        assert isinstance(error, TimeoutError)
        assert str(error) == f"root/x did not answer within {expected:g} s"


async def test_each_ask_has_its_own_limit() -> None:
    """Asks with different limits, made in any order, each end at their own."""
    clock = FakeClock()
    ended: list[float] = []

    async def ask(ref: ActorRef[Told], limit: float) -> None:
        assert isinstance(await error_of(ref.within(limit), nothing), AskTimeout)
        ended.append(limit)

    async with running(Child("x", Puppet), clock=clock) as ref, asyncio.TaskGroup() as group:
        for limit in (8.0, 2.0, 4.0, 2.0):
            group.create_task(ask(ref, limit))
            await settle()
        for now, expected in [(1.0, []), (2.0, [2.0, 2.0]), (4.0, [2.0, 2.0, 4.0]), (8.0, [2.0, 2.0, 4.0, 8.0])]:
            await clock.advance(now - (clock.now() - 1000.0))
            assert ended == expected


@hypothesis.given(st.lists(st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.floats(0, 2, width=16)), max_size=12))
async def test_every_ask_ends_exactly_at_its_limit(asks: list[tuple[float, float]]) -> None:
    """Whatever their limits and starts, unanswered asks end when their own time is up."""
    clock = FakeClock()

    async def ask(ref: ActorRef[Told], limit: float) -> None:
        began = clock.now()
        assert isinstance(await error_of(ref.within(limit), nothing), AskTimeout)
        assert clock.now() - began == pytest.approx(limit, abs=1e-9)

    async with running(Child("x", Puppet), clock=clock) as ref, asyncio.TaskGroup() as group:
        tasks = []
        for limit, pause in asks:
            tasks.append(group.create_task(ask(ref, limit)))
            await settle()
            # An ask that is answered at once must not take the limit of another with it.
            assert await ref.within(limit).ask(Please, echo) == "echo"
            await clock.advance(pause)
        await clock.advance(3)
        assert all(task.done() for task in tasks)


async def test_very_many_asks_all_end() -> None:
    """Of thousands of asks at the same time those that were given up are forgotten, and the others all end."""
    clock = FakeClock()
    async with running(Child("x", Puppet, capacity=5000), clock=clock) as ref:
        futures = [ref.ask_nowait(Please, nothing) for _ in range(3000)]
        for future in futures[::3]:
            future.cancel()
        futures += [ref.ask_nowait(Please, nothing) for _ in range(1000)]
        await clock.advance(5)
        assert all(future.done() for future in futures)
        ends = Counter("given up" if future.cancelled() else type(future.exception()).__name__ for future in futures)
    assert ends == {"given up": 1000, "AskTimeout": 3000}


async def test_a_late_answer_is_dropped() -> None:
    """An answer after the limit changes nothing, neither for the asker nor for the actor."""
    clock, log, replies = FakeClock(), EventLog(), list[Reply[object]]()

    async def keep(_: Puppet, reply: Reply[object]) -> None:
        replies.append(reply)

    async with running(Child("x", Puppet), clock=clock, log=log) as ref:
        async with asyncio.TaskGroup() as group:
            group.create_task(error_of(ref, keep))
            await clock.advance(5)
        assert replies[0].done
        replies[0].send("late")
        replies[0].fail(KeyError())
        assert await ref.ask(Please, echo) == "echo"
    assert dead(log) == []


async def test_an_ask_that_expired_in_the_queue_is_not_handled() -> None:
    """A request whose limit passed before the actor read it becomes a dead letter."""
    clock, log, go = FakeClock(), EventLog(), asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async with running(Child("x", Puppet), clock=clock, log=log) as ref, asyncio.TaskGroup() as group:
        await ref.tell(Do(block))
        asker = group.create_task(error_of(ref, fail))
        await clock.advance(5)
        assert isinstance(asker.result(), AskTimeout)
        go.set()
        assert await ref.ask(Please, echo) == "echo"
        assert [(type(message), reason) for message, reason in dead(log)] == [(Please, "expired")]


async def test_the_limit_includes_the_wait_for_room() -> None:
    """An ask that waits for room ends at its limit too, and leaves the room to the next sender."""
    clock, log, go, heard = FakeClock(), EventLog(), asyncio.Event(), list[object]()

    async def block(_: Puppet) -> None:
        await go.wait()

    node = Child("x", lambda: Puppet(heard), capacity=1)
    async with running(node, clock=clock, log=log) as ref, asyncio.TaskGroup() as group:
        await ref.tell(Do(block))
        await settle()
        await ref.tell("fills the mailbox")
        asker = group.create_task(error_of(node.ref, echo))
        await settle()
        patient = group.create_task(ref.tell("patient"))
        await clock.advance(5)
        assert isinstance(asker.result(), AskTimeout)
        assert not patient.done()
        assert [(type(message), reason) for message, reason in dead(log)] == [(Please, "expired")]
        go.set()
        await settle()
        assert patient.done()
        assert heard == ["fills the mailbox", "patient"]
    assert len(dead(log)) == 1


async def test_an_ask_whose_asker_is_gone_is_not_handled() -> None:
    """A queued request whose asker was cancelled becomes a dead letter."""
    log, go = EventLog(), asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async with running(Child("x", Puppet), clock=FakeClock(), log=log) as ref, asyncio.TaskGroup() as group:
        await ref.tell(Do(block))
        asker = group.create_task(error_of(ref, fail))
        await settle()
        asker.cancel()
        await settle()
        go.set()
        await settle()
        assert [reason for _, reason in dead(log)] == ["expired"]


async def test_limits_leave_nothing_behind() -> None:
    """Asks with ever different limits leave no trace in the tree once they are over."""
    clock = FakeClock()
    node = Child("x", Puppet)
    async with running(Supervisor("root", [node]), clock=clock) as tree:
        for number in range(200):
            await node.ref.within(1 + number / 128).ask(Please, echo)
        await clock.advance(5)
        assert clock.pending == 0
        assert len(tree.runtime.expiry) < 10
