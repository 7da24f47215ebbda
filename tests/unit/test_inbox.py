"""Holds the reading end of a mailbox to its promise: each message is read once, and its end is recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from supervisor.errors import ActorCrashed, MailboxClosed, Stop, SupervisorError
from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Drain, Restart
from supervisor.tree.events import ChildExited, ChildStarted, DeadLetter, DeadLetterReason
from supervisor.tree.inbox import EMPTY, Inbox
from supervisor.tree.mailbox import Envelope, Injected, Mailbox
from supervisor.tree.outcome import Normal
from supervisor.tree.refs import Reply
from supervisor.tree.runtime import Runtime
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Do, Please, Puppet, fail, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.tree.tree import Tree

QUEUED_THEN = 3


class Desk:
    """A mailbox with one inbox on it, and the requests that came in."""

    def __init__(self, *messages: object) -> None:
        self.runtime = Runtime()
        self.mailbox: Mailbox[object] = Mailbox("m")
        self.mailbox.open("root/m", self.runtime)
        self.inbox: Inbox[object] = Inbox(self.mailbox)
        for message in messages:
            self.mailbox.put_nowait(message)

    def request(self, message: object) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.mailbox.put_nowait(Envelope(message, Reply(future), None))
        return future

    @property
    def dead(self) -> list[tuple[object, str]]:
        return [(letter.message, letter.reason.value) for letter in self.runtime.dead_letters.last]


# --- reading ------------------------------------------------------------------------------------------


async def test_take_never_waits() -> None:
    """`take` returns the messages in order, then EMPTY, and the length counts what is left."""
    desk = Desk("a", "b")
    assert [(len(desk.inbox), desk.inbox.take()) for _ in range(3)] == [(2, "a"), (1, "b"), (0, EMPTY)]


async def test_iteration_waits_for_messages() -> None:
    """`async for` yields what is queued and then waits for more."""
    desk = Desk("a")
    read: list[object] = []

    async def reader() -> None:
        async for message in desk.inbox:
            read.append(message)  # noqa: PERF401 - the test looks at each as it comes

    async with asyncio.TaskGroup() as group:
        group.create_task(reader())
        await settle()
        assert read == ["a"]
        desk.mailbox.put_nowait("b")
        await settle()
        assert read == ["a", "b"]
        desk.inbox.drain(queue=False)


async def test_a_message_like_nothing_is_a_message() -> None:
    """Messages that are falsy are read like any other."""
    desk = Desk(None, 0, "", ())
    assert [desk.inbox.take() for _ in range(5)] == [None, 0, "", (), EMPTY]


async def test_an_inbox_has_one_reader() -> None:
    """A second task that waits on the same inbox gets an error that says so, and the first goes on."""
    desk = Desk()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(anext(desk.inbox))
        await settle()
        with pytest.raises(SupervisorError, match=r"root/m: an inbox has one reader"):
            await anext(desk.inbox)
        desk.mailbox.put_nowait("a")
    assert first.result() == "a"


@pytest.mark.parametrize("native", [True, False], ids=["task", "scope"])
async def test_a_cancelled_reader_leaves_the_inbox_usable(native: bool) -> None:
    """After the cancel of a reader that waited, another may wait, and it gets the next message."""
    desk = Desk()
    scope = anyio.CancelScope()

    async def read() -> None:
        with scope:
            await anext(desk.inbox)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(read())
        await settle()
        if native:
            first.cancel()
        else:
            scope.cancel()
        await settle()
        second = group.create_task(anext(Inbox(desk.mailbox)))
        await settle()
        desk.mailbox.put_nowait("a")
    assert second.result() == "a"


async def test_an_injected_error_is_raised_at_the_reader() -> None:
    """An injected error overtakes the messages and leaves them queued."""
    desk = Desk("a")
    desk.mailbox.put_control(Injected(KeyError("injected")))
    with pytest.raises(KeyError, match="injected"):
        desk.inbox.take()
    assert len(desk.mailbox) == 1
    desk.inbox.crashed(KeyError())
    assert desk.dead == []


async def test_a_reader_that_waits_is_idle_and_one_that_handles_is_not() -> None:
    """The inbox knows whether its actor waits for a message, and stamps each read with the time."""
    clock = FakeClock()
    desk = Desk()
    inbox: Inbox[object] = Inbox(desk.mailbox, clock.now)
    idle = [inbox.idle]
    async with asyncio.TaskGroup() as group:
        group.create_task(anext(inbox))
        await clock.advance(5)
        idle.append(inbox.idle)
        desk.mailbox.put_nowait("a")
        await settle()
        idle.append(inbox.idle)
    assert idle == [False, True, False]
    assert inbox.stamp == clock.now() == 1005


# --- asks that nobody waits for -----------------------------------------------------------------------


async def test_an_expired_request_is_skipped() -> None:
    """A request whose asker has gone becomes a dead letter, and the next message is read instead."""
    desk = Desk()
    desk.request("gone").cancel()
    desk.mailbox.put_nowait("a")
    assert desk.inbox.take() == "a"
    assert desk.dead == [("gone", "expired")]


async def test_nothing_but_expired_requests_is_nothing() -> None:
    """A reader does not return for requests that have all expired: it goes on waiting."""
    desk = Desk()
    for number in range(3):
        desk.request(number).cancel()
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(anext(desk.inbox))
        await settle()
        assert not reader.done()
        assert len(desk.dead) == 3
        desk.mailbox.put_nowait("a")
    assert reader.result() == "a"


# --- the message being handled ------------------------------------------------------------------------


async def test_a_crash_buries_the_message_being_handled() -> None:
    """The message read last becomes a dead letter, its asker gets ActorCrashed with the cause, the rest stays."""
    desk = Desk()
    future = desk.request("poison")
    desk.mailbox.put_nowait("next")
    desk.inbox.take()
    cause = ValueError("why")
    desk.inbox.crashed(cause)
    with pytest.raises(ActorCrashed, match="root/m") as caught:
        await future
    assert caught.value.__cause__ is cause
    assert desk.dead == [("poison", "crashed")]
    assert Inbox(desk.mailbox).take() == "next"


async def test_an_interruption_buries_the_message_being_handled() -> None:
    """A message that a stop cut short becomes a dead letter, and its asker gets MailboxClosed."""
    desk = Desk()
    future = desk.request("cut short")
    desk.inbox.take()
    desk.inbox.interrupted()
    with pytest.raises(MailboxClosed):
        await future
    assert desk.dead == [("cut short", "closed")]


async def test_a_good_end_counts_the_last_message_as_handled() -> None:
    """An actor that ends well leaves no dead letter, but its last asker is told that no answer comes."""
    desk = Desk()
    future = desk.request("last")
    desk.inbox.take()
    desk.inbox.finished()
    with pytest.raises(MailboxClosed):
        await future
    assert desk.dead == []


@pytest.mark.parametrize("end", ["crashed", "interrupted"])
async def test_the_next_read_ends_the_handling(end: str) -> None:
    """Once the actor has read again, even in vain, the message before counts as handled."""
    desk = Desk("a")
    desk.inbox.take()
    assert desk.inbox.take() is EMPTY
    if end == "crashed":
        desk.inbox.crashed(ValueError())
    else:
        desk.inbox.interrupted()
    assert desk.dead == []


async def test_an_answer_may_come_after_the_next_read() -> None:
    """An actor may keep a request and answer it later, beyond the next message and a good end."""
    desk = Desk()
    future = desk.request("later")
    desk.mailbox.put_nowait("a")
    desk.inbox.take()
    desk.inbox.take()
    desk.inbox.finished()
    assert not future.done()


async def test_an_end_is_recorded_once() -> None:
    """A message is buried once, however often its inbox hears of an end."""
    desk = Desk("a")
    desk.inbox.take()
    desk.inbox.crashed(ValueError())
    desk.inbox.interrupted()
    desk.inbox.finished()
    assert desk.dead == [("a", "crashed")]


# --- the end of reading -------------------------------------------------------------------------------


@pytest.mark.parametrize(("queue", "expected"), [(True, ["b", "c"]), (False, [])], ids=["queue", "current"])
async def test_a_drain_ends_the_iteration(queue: bool, expected: list[str]) -> None:
    """A drain ends `async for` after the queued messages, or after the current one."""
    desk = Desk("a", "b", "c")
    assert desk.inbox.take() == "a"
    desk.inbox.drain(queue=queue)
    assert [message async for message in desk.inbox] == expected
    assert len(desk.mailbox) == 2 - len(expected)


@pytest.mark.parametrize("queue", [True, False])
async def test_a_drain_ends_a_wait(queue: bool) -> None:
    """A reader that waits for a message ends at once when the actor is to stop."""
    desk = Desk()
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(anext(desk.inbox, EMPTY))
        await settle()
        desk.inbox.drain(queue=queue)
    assert reader.result() is EMPTY


async def test_a_revoked_inbox_reads_nothing() -> None:
    """After `revoke` neither lane yields anything, and what is queued stays for another reader."""
    desk = Desk("a")
    desk.mailbox.put_control("control")
    desk.inbox.revoke()
    assert desk.inbox.take() is EMPTY
    assert [message async for message in desk.inbox] == []
    assert Inbox(desk.mailbox).take() == "control"


async def test_a_revoked_reader_stands_in_nobodys_way() -> None:
    """A revoked reader that waits, behind whatever shield, ends, and a new one takes its place."""
    desk = Desk()
    async with asyncio.TaskGroup() as group:
        old = group.create_task(anext(desk.inbox, EMPTY))
        await settle()
        desk.inbox.revoke()
        new = group.create_task(anext(Inbox(desk.mailbox), EMPTY))
        await settle()
        desk.mailbox.put_nowait("a")
        await settle()
        ended = old.done()
        old.cancel()
    assert (ended, new.result()) == (True, "a")


# --- in a tree ----------------------------------------------------------------------------------------


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
