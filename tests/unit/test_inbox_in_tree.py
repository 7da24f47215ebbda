"""Holds the reading end of a mailbox to its promise in a tree: crashes, stops and successors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from supervisor.errors import MailboxClosed, Stop
from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Drain, Restart
from supervisor.tree.events import ChildExited, ChildStarted, DeadLetter, DeadLetterReason
from supervisor.tree.outcome import Normal
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Do, Please, Puppet, fail, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.tree.tree import Tree

QUEUED_THEN = 3


def child(heard: list[object] | None = None, drain: Drain = Drain.CURRENT) -> Child[object]:
    """Declare a puppet that may hear anything."""
    return Child("puppet", lambda: hears_all(heard), drain=drain)


def hears_all(heard: list[object] | None) -> Actor[object]:
    """Make a puppet; the tests know what it understands."""
    return cast("Actor[object]", Puppet(heard))


async def test_the_queue_survives_a_crash() -> None:
    """After a crash the next incarnation reads what was queued, in order, and never the poison."""
    clock, log, heard = FakeClock(), EventLog(), list[object]()
    poison = Do(fail)
    async with running(child(heard), clock=clock, log=log) as ref:
        for message in ("a", poison, "b", "c"):
            ref.tell_nowait(message)
        await settle()
        assert heard == ["a"]
        await ref.tell("d")
        await clock.advance(1)
        assert heard == ["a", "b", "c", "d"]
    assert log.of(DeadLetter) == [DeadLetter("root/puppet", DeadLetterReason.CRASHED, poison)]
    assert [event.generation for event in log.of(ChildStarted, name="puppet")] == [1, 2]


async def test_a_crash_between_messages_loses_none() -> None:
    """A crash while the actor waits leaves no dead letter at all."""
    clock, log, heard = FakeClock(), EventLog(), list[object]()
    async with running(child(heard), clock=clock, log=log) as ref:
        await ref.tell("a")
        await settle()
        crash(ref, RuntimeError())
        await settle()
        await ref.tell("b")
        await clock.advance(1)
    assert heard == ["a", "b"]
    assert log.of(DeadLetter) == []


async def test_a_normal_end_between_messages_loses_none() -> None:
    """A permanent actor that ends normally goes on with its queue in its next incarnation."""

    async def stop(_: Puppet) -> None:
        raise Stop

    clock, log, heard = FakeClock(), EventLog(), list[object]()
    async with running(child(heard), clock=clock, log=log) as ref:
        for message in (Do(stop), "a"):
            ref.tell_nowait(message)
        await clock.advance(1)
    assert heard == ["a"]
    assert log.of(DeadLetter) == []
    assert log.of(ChildExited, outcome=Normal(), name="puppet")


async def test_what_a_stopped_child_did_not_read_is_buried() -> None:
    """A stop ends after the current message by default, and the queue becomes dead letters."""
    log, heard, going = EventLog(), list[object](), asyncio.Event()

    async def slow(_: Puppet) -> None:
        await going.wait()
        heard.append("slow")

    async with running(child(heard), clock=FakeClock(), log=log) as ref:
        for message in (Do(slow), "a", "b"):
            ref.tell_nowait(message)
        await settle()
        asyncio.get_running_loop().call_soon(going.set)
    assert heard == ["slow"]
    assert [(letter.message, letter.reason) for letter in log.of(DeadLetter)] == [
        ("a", DeadLetterReason.CLOSED),
        ("b", DeadLetterReason.CLOSED),
    ]


async def test_a_child_that_drains_its_queue_loses_nothing_at_stop() -> None:
    """With `Drain.QUEUE` a stop ends after the messages that were queued by then."""
    log, heard = EventLog(), list[object]()
    async with running(child(heard, Drain.QUEUE), clock=FakeClock(), log=log) as ref:
        for message in "abc":
            ref.tell_nowait(message)
    assert heard == ["a", "b", "c"]
    assert log.of(DeadLetter) == []


async def test_a_drain_ends_with_what_was_queued_by_then() -> None:
    """With `Drain.QUEUE` not even an actor that feeds itself can go on beyond what was queued at the stop."""
    clock, log, went_on = FakeClock(), EventLog(), list[bool]()

    async def feed(puppet: Puppet) -> None:
        await asyncio.sleep(0)
        if puppet.stopping:
            went_on.append(True)
        puppet._life.node.mailbox.put_nowait(Do(feed))

    node = Child("puppet", Puppet, drain=Drain.QUEUE)
    supervisor = Supervisor("root", [node])
    async with running(supervisor, clock=clock, log=log), asyncio.TaskGroup() as group:
        for _ in range(QUEUED_THEN):
            node.ref.tell_nowait(Do(feed))
        await settle()
        restart = group.create_task(supervisor.restart_child("puppet"))
        while log.of(ChildExited, name="puppet") == [] and len(went_on) < 100:
            await settle()
        await clock.advance(10)
        assert restart.done()
    # One more may be under way when the stop comes.
    assert len(went_on) <= QUEUED_THEN + 1


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_cancel_during_the_drain_leaves_a_dead_letter(grouped: bool) -> None:
    """A message whose handling foreign code cancels is buried, also while the actor is to stop."""
    log = EventLog()

    async def wait(_: Puppet) -> None:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError as error:
            raise BaseExceptionGroup("cancels", [error]) if grouped else error from None

    message = Do(wait)
    node = Child("puppet", Puppet)
    supervisor = Supervisor("root", [node])
    async with running(supervisor, clock=FakeClock(), log=log), asyncio.TaskGroup() as group:
        await node.ref.tell(message)
        await settle()
        group.create_task(supervisor.stop_child("puppet"))
        await settle()
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "root/puppet")
        task.cancel()
        await settle()
    assert [letter.message for letter in log.of(DeadLetter)] == [message]


@pytest.mark.parametrize("stop_timeout", [0.0, 5.0])
async def test_a_stop_that_comes_too_late_unmakes_no_handling(stop_timeout: float) -> None:
    """A message after which the actor ended well stays handled, although a stop begins before the end is seen."""
    log = EventLog()

    async def stop(puppet: Puppet) -> None:
        # Runs when the task has ended, and before its supervisor has heard of it.
        asyncio.get_running_loop().call_soon(puppet._life.stop)
        raise Stop

    node = Child("puppet", Puppet, stop_timeout=stop_timeout, restart=Restart.TRANSIENT)
    async with running(node, clock=FakeClock(), log=log) as ref:
        await ref.tell(Do(stop))
        await settle()
        assert len(log.of(ChildExited, name="puppet")) == 1
    assert log.of(DeadLetter) == []


class Leaky(Actor[object]):
    """Leaves a task behind that goes on reading its inbox after the actor has crashed."""

    def __init__(self, group: asyncio.TaskGroup, stolen: list[object]) -> None:
        self.group = group
        self.stolen = stolen

    async def steal(self) -> None:
        async for message in self.inbox:
            self.stolen.append(message)

    async def run(self) -> None:
        self.group.create_task(self.steal(), name="stray")
        await asyncio.sleep(0)
        raise ValueError


async def test_an_ended_incarnation_reads_nothing() -> None:
    """A task that an actor left behind gets no message that is meant for its successor."""
    clock, stolen, heard = FakeClock(), list[object](), list[object]()
    async with asyncio.TaskGroup() as group:
        lives: Iterator[Actor[object]] = iter([Leaky(group, stolen), hears_all(heard)])
        async with running(Child("leaky", lambda: next(lives)), clock=clock) as ref:
            await clock.advance(1)
            for message in "ab":
                await ref.tell(message)
                await clock.advance(1)
        for task in asyncio.all_tasks():
            if task.get_name() == "stray":
                task.cancel()
    assert (stolen, heard) == ([], ["a", "b"])


async def test_the_asker_of_an_unanswered_request_is_told_at_the_end() -> None:
    """A request that was read but not answered when its actor ends fails with MailboxClosed, not with a timeout."""
    node = Child("puppet", Puppet, restart=Restart.TRANSIENT)

    async def stop(_: Puppet, _reply: object) -> None:
        raise Stop

    tree: Tree
    async with running(Supervisor("root", [node]), clock=FakeClock()) as tree:
        with pytest.raises(MailboxClosed):
            await node.ref.ask(Please, stop)
        assert not tree.snapshot().children[0].busy
        with pytest.raises(MailboxClosed):
            await node.ref.ask(Please, nothing)
