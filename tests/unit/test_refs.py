"""Holds addresses to their promise: valid before the start, and quiet about what nobody waits for."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import anyio
import pytest

from supervisor.errors import AskTimeout, MailboxClosed, MailboxFull
from supervisor.testing import EventLog, FakeClock, running, settle
from supervisor.tree.child import Child
from supervisor.tree.mailbox import Overflow
from supervisor.tree.supervisor import Supervisor
from tests.unit.asking import Complaints, dead, error_of
from tests.unit.puppet import Do, Please, Puppet, echo, nothing

if TYPE_CHECKING:
    from supervisor.tree.refs import Reply


# --- addresses ----------------------------------------------------------------------------------------


def test_two_refs_to_one_child_are_equal() -> None:
    """Refs compare and hash by the child they address, whatever their limit."""
    one, two = Child("x", Puppet), Child("x", Puppet)
    assert one.ref == one.ref.within(1)
    assert len({one.ref, one.ref.within(1), two.ref}) == 2
    assert one.ref != "x"


async def test_a_ref_names_its_place() -> None:
    """A ref shows the child's name until the tree has started, and its path from then on."""
    node = Child("x", Puppet)
    assert (node.ref.path, repr(node.ref)) == ("x", "<ActorRef x>")
    async with running(Supervisor("root", [Supervisor("shop", [node])])):
        assert (node.ref.path, repr(node.ref)) == ("root/shop/x", "<ActorRef root/shop/x>")


async def test_a_ref_is_valid_before_the_start() -> None:
    """Messages told before the tree starts are handled once it runs."""
    heard: list[object] = []
    node = Child("x", lambda: Puppet(heard))
    await node.ref.tell("early")
    async with running(node) as ref:
        await ref.tell("late")
        await settle()
    assert heard == ["early", "late"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_an_ask_has_a_limit(seconds: float) -> None:
    """`within` refuses a limit that is no limit, and names it."""
    with pytest.raises(ValueError, match=rf"within\({seconds}\): .* positive, finite"):
        Child("x", Puppet).ref.within(seconds)


# --- nothing reaches the loop's exception handler -----------------------------------------------------


async def cancel_an_asker_that_was_just_answered() -> None:
    """Answer a request with an error and cancel its asker, in one turn of the loop."""
    replies: list[Reply[object]] = []

    async def keep(_: Puppet, reply: Reply[object]) -> None:
        replies.append(reply)

    async with running(Child("x", Puppet), clock=FakeClock()) as ref, asyncio.TaskGroup() as group:
        asker = group.create_task(ref.ask(Please, keep))
        await settle()
        replies.pop().fail(KeyError("nobody hears this"))
        asker.cancel()
        await settle()
        assert asker.cancelled()


async def let_the_limit_of_a_refused_ask_pass(overflow: Overflow) -> None:
    """Ask a full actor, give up, and let the limit of the ask pass."""

    async def hang(_: Puppet) -> None:
        await anyio.sleep_forever()

    clock = FakeClock()
    node = Child("x", Puppet, capacity=1, overflow=overflow)
    async with running(node, clock=clock) as ref, asyncio.TaskGroup() as group:
        await ref.tell(Do(hang))
        await settle()
        await ref.tell("fills the mailbox")
        asker = group.create_task(error_of(ref, echo))
        await settle()
        asker.cancel()
        await clock.advance(6)


async def test_an_error_for_an_asker_that_is_cancelled_is_no_noise() -> None:
    """An ask that is cancelled in the same turn as it fails leaves no exception that nobody retrieved."""
    complaints = Complaints()
    await cancel_an_asker_that_was_just_answered()
    assert complaints.collect() == []


@pytest.mark.parametrize("overflow", [Overflow.WAIT, Overflow.FAIL])
async def test_an_ask_that_was_refused_is_no_noise(overflow: Overflow) -> None:
    """An ask that never got in leaves no exception that nobody retrieved, not even when its limit passes."""
    complaints = Complaints()
    await let_the_limit_of_a_refused_ask_pass(overflow)
    assert complaints.collect() == []


# --- ask_nowait ---------------------------------------------------------------------------------------


async def test_ask_nowait_returns_a_future_for_the_answer() -> None:
    """`ask_nowait` sends at once, and its future gets the answer, or AskTimeout at the limit."""
    clock = FakeClock()
    async with running(Child("x", Puppet), clock=clock) as ref:
        answer, none = ref.ask_nowait(Please, echo), ref.within(2).ask_nowait(Please, nothing)
        assert await answer == "echo"
        await clock.advance(1.5)
        assert not none.done()
        await clock.advance(0.5)
        with pytest.raises(AskTimeout):
            await none


async def test_ask_nowait_never_waits() -> None:
    """`ask_nowait` raises MailboxFull or MailboxClosed at the caller, and leaves a dead letter and no noise."""
    complaints, clock, log = Complaints(), FakeClock(), EventLog()
    node = Child("x", Puppet, capacity=1)
    async with running(node, clock=clock, log=log):
        await node.ref.tell("fills the mailbox")
        with pytest.raises(MailboxFull):
            node.ref.ask_nowait(Please, echo)
    with pytest.raises(MailboxClosed):
        node.ref.ask_nowait(Please, echo)
    await clock.advance(6)
    assert [reason for _, reason in dead(log)] == ["full", "closed"]
    assert complaints.collect() == []
