"""Holds the reading end of a mailbox to its promise: each message is read once, and its end is recorded."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from supervisor.errors import ActorCrashed, MailboxClosed, SupervisorError
from supervisor.testing import FakeClock, settle
from supervisor.tree.inbox import EMPTY, Inbox
from supervisor.tree.mailbox import Envelope, Injected, Mailbox
from supervisor.tree.refs import Reply
from supervisor.tree.runtime import Runtime


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
