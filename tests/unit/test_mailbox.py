"""Holds the mailbox to its promise: bounded, in order, and everyone turned away is told."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from supervisor.errors import ConfigError, MailboxClosed, MailboxFull
from supervisor.testing import settle
from supervisor.tree.child import Child
from supervisor.tree.events import DeadLetterReason
from supervisor.tree.inbox import Inbox
from supervisor.tree.mailbox import DEFAULT_CAPACITY, Mailbox, Overflow
from tests.unit.opened_mailbox import everything, opened, request
from tests.unit.puppet import Puppet

# --- bounds and overflow ------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_mailbox_without_room_is_refused(capacity: int) -> None:
    """A capacity below 1 is a ConfigError that names the child, the field, the value and the remedy."""
    with pytest.raises(ConfigError, match=rf"child 'm': capacity = {capacity}; .* at least 1"):
        Mailbox("m", capacity)


def test_a_mailbox_holds_a_hundred_by_default() -> None:
    """The default capacity is 100 messages and a full mailbox makes senders wait."""
    mailbox = Child("m", Puppet).mailbox
    assert (mailbox.capacity, mailbox.overflow) == (DEFAULT_CAPACITY, Overflow.WAIT) == (100, Overflow.WAIT)


@pytest.mark.parametrize("overflow", [Overflow.WAIT, Overflow.FAIL])
async def test_put_nowait_refuses_what_does_not_fit(overflow: Overflow) -> None:
    """A message that does not fit raises MailboxFull, becomes a dead letter, and displaces nothing."""
    mailbox, letters = opened(2, overflow)
    mailbox.put_nowait("a")
    mailbox.put_nowait("b")
    with pytest.raises(MailboxFull, match=r"root/m holds 2 messages already"):
        mailbox.put_nowait("c")
    assert letters.pairs == [("c", DeadLetterReason.FULL)]
    assert everything(mailbox) == ["a", "b"]


async def test_put_fails_at_once_under_fail() -> None:
    """Under `Overflow.FAIL` not even a sender that could wait is kept waiting."""
    mailbox, letters = opened(1, Overflow.FAIL)
    await mailbox.put("a")
    with pytest.raises(MailboxFull):
        await mailbox.put("b")
    assert letters.pairs == [("b", DeadLetterReason.FULL)]


async def test_drop_oldest_keeps_the_newest() -> None:
    """Under `Overflow.DROP_OLDEST` the oldest message gives way and becomes a dead letter."""
    mailbox, letters = opened(2, Overflow.DROP_OLDEST)
    for item in "abc":
        await mailbox.put(item)
    mailbox.put_nowait("d")
    assert letters.pairs == [("a", DeadLetterReason.FULL), ("b", DeadLetterReason.FULL)]
    assert everything(mailbox) == ["c", "d"]


async def test_the_asker_of_a_dropped_request_is_told() -> None:
    """A request that `Overflow.DROP_OLDEST` drops fails with MailboxFull at its asker."""
    mailbox, letters = opened(1, Overflow.DROP_OLDEST)
    envelope, future = request()
    mailbox.put_nowait(envelope)
    mailbox.put_nowait("b")
    with pytest.raises(MailboxFull):
        await future
    assert letters.pairs == [("request", DeadLetterReason.FULL)]


async def test_a_sender_waits_for_room_and_no_longer() -> None:
    """A waiting sender goes on as soon as one message is read, and the bound is never exceeded."""
    mailbox, letters = opened(1)
    mailbox.put_nowait("a")
    inbox = Inbox(mailbox)
    async with asyncio.TaskGroup() as group:
        sender = group.create_task(mailbox.put("b"))
        await settle()
        assert not sender.done()
        assert len(mailbox) == 1
        assert inbox.take() == "a"
        await settle()
        assert sender.done()
    assert inbox.take() == "b"
    assert letters.all == []


async def test_waiting_senders_are_served_in_turn() -> None:
    """Senders that wait for room get in, in the order in which they came."""
    mailbox, _ = opened(2)
    inbox, read = Inbox(mailbox), list[object]()
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(mailbox.put(number))
        while len(read) < 10:
            await settle()
            read.append(inbox.take())
    assert read == list(range(10))


async def test_a_message_beyond_the_bound_strands_no_sender() -> None:
    """A sender that waits beside messages beyond the bound is still woken when there is room."""
    mailbox, _ = opened(1)
    inbox = Inbox(mailbox)
    mailbox.put_nowait("a")
    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(mailbox.put(item)) for item in "bc"]
        await settle()
        mailbox.deliver("timer")
        read: list[object] = []
        for _turn in range(4):
            read.append(inbox.take())
            await settle()
        assert all(sender.done() for sender in senders)
    assert sorted(map(str, read)) == ["a", "b", "c", "timer"]


# --- close, drain, open -------------------------------------------------------------------------------


async def test_a_closed_mailbox_refuses_with_a_dead_letter() -> None:
    """After `close` a sender gets MailboxClosed and its message becomes a dead letter."""
    mailbox, letters = opened()
    mailbox.close()
    with pytest.raises(MailboxClosed, match=r"root/m takes no more messages"):
        mailbox.put_nowait("a")
    with pytest.raises(MailboxClosed):
        await mailbox.put("b")
    assert mailbox.closed
    assert letters.pairs == [("a", DeadLetterReason.CLOSED), ("b", DeadLetterReason.CLOSED)]


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_closed_wins_over_full(overflow: Overflow) -> None:
    """A mailbox that is full and closed says closed, and drops nothing for a message it refuses."""
    mailbox, letters = opened(1, overflow)
    mailbox.put_nowait("a")
    mailbox.close()
    with pytest.raises(MailboxClosed):
        mailbox.put_nowait("b")
    assert letters.pairs == [("b", DeadLetterReason.CLOSED)]
    assert everything(mailbox) == ["a"]


async def test_close_turns_waiting_senders_away() -> None:
    """Every sender that waits when the mailbox closes gets MailboxClosed and leaves a dead letter."""
    mailbox, letters = opened(1)
    mailbox.put_nowait("a")
    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(turned_away(mailbox, item)) for item in "bcd"]
        await settle()
        mailbox.close()
    assert [sender.result() for sender in senders] == [True, True, True]
    assert letters.pairs == [(item, DeadLetterReason.CLOSED) for item in "bcd"]
    assert everything(mailbox) == ["a"]


async def test_a_mailbox_that_reopens_at_once_loses_no_sender() -> None:
    """A sender that waits across a close and an open is served or refused, never stuck."""
    mailbox, letters = opened(1)
    mailbox.put_nowait("a")
    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(turned_away(mailbox, item)) for item in "bc"]
        await settle()
        mailbox.close()
        mailbox.drain()
        mailbox.open("root/m", mailbox.runtime)
        read: list[object] = []
        for _ in range(3):
            await settle()
            read += everything(mailbox)
        assert all(sender.done() for sender in senders)
    accounted = Counter([*read, *(letter.message for letter in letters.all)])
    assert accounted == Counter("abc")


async def turned_away(mailbox: Mailbox[object], item: object) -> bool:
    """Put, and say whether the mailbox was closed."""
    try:
        await mailbox.put(item)
    except MailboxClosed:
        return True
    return False


async def test_drain_buries_what_is_queued() -> None:
    """`drain` makes each queued message a dead letter and tells each asker."""
    mailbox, letters = opened(3)
    envelope, future = request()
    for item in ("a", envelope, "b"):
        mailbox.put_nowait(item)
    mailbox.close()
    mailbox.drain()
    assert letters.pairs == [(item, DeadLetterReason.CLOSED) for item in ("a", "request", "b")]
    assert len(mailbox) == 0
    with pytest.raises(MailboxClosed):
        await future


def test_an_opened_mailbox_takes_messages_again() -> None:
    """`open` after `close` restores the whole capacity, under the path of its new place."""
    mailbox, letters = opened(2)
    mailbox.close()
    mailbox.open("other/m", mailbox.runtime)
    mailbox.put_nowait("a")
    mailbox.put_nowait("b")
    with pytest.raises(MailboxFull, match=r"other/m"):
        mailbox.put_nowait("c")
    assert letters.all[0].path == "other/m"


# --- lanes --------------------------------------------------------------------------------------------


async def test_the_control_lane_is_read_first_and_has_no_bound() -> None:
    """Control messages overtake user messages, keep their own order, and fit in a full mailbox."""
    mailbox, _ = opened(1)
    mailbox.put_nowait("user")
    for number in range(5):
        mailbox.put_control(number)
    assert everything(mailbox) == [0, 1, 2, 3, 4, "user"]


async def test_either_lane_wakes_the_reader() -> None:
    """A reader that waits is woken by a control message as by a user message."""
    mailbox, _ = opened()
    inbox = Inbox(mailbox)
    for put in (mailbox.put_control, mailbox.put_nowait):
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(anext(inbox))
            await settle()
            put("news")
        assert reader.result() == "news"
