"""Holds asks to their promise: every ask ends, with an answer or with an error that says why."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from supervisor.errors import ActorCrashed, MailboxClosed, MailboxFull
from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Restart
from supervisor.tree.mailbox import Overflow
from supervisor.tree.supervisor import Supervisor
from tests.unit.asking import dead, error_of
from tests.unit.puppet import Please, Puppet, echo, fail

if TYPE_CHECKING:
    from supervisor.tree.refs import Reply


@dataclass(frozen=True, slots=True)
class Join:
    """Answer with the parts joined."""

    reply: Reply[str]
    first: str
    second: str = "none"


class Joiner(Actor[Join]):
    async def handle(self, message: Join) -> None:
        message.reply.send(f"{message.first}+{message.second}")


# --- answers ------------------------------------------------------------------------------------------


async def test_an_ask_builds_the_request_around_the_reply() -> None:
    """`ask` passes the reply first and then its own arguments, and returns what was sent."""
    async with running(Child("joiner", Joiner)) as ref:
        assert await ref.ask(Join, "a") == "a+none"
        assert await ref.ask(Join, "a", "b") == "a+b"
        assert await ref.ask(Join, first="a", second="c") == "a+c"


async def test_a_request_that_cannot_be_built_is_not_sent() -> None:
    """An error of the request's own constructor reaches the asker, and the actor hears nothing."""

    def broken(reply: Reply[str]) -> Join:
        raise LookupError

    async with running(Child("joiner", Joiner)) as ref:
        with pytest.raises(LookupError):
            await ref.ask(broken)
        assert await ref.ask(Join, "a") == "a+none"


async def test_an_answer_can_be_an_error() -> None:
    """What the actor gives to `Reply.fail` is raised at the asker, and the actor lives on."""
    error = KeyError("k")

    async def refuse(_: Puppet, reply: Reply[object]) -> None:
        reply.fail(error)

    log = EventLog()
    async with running(Child("x", Puppet), log=log) as ref:
        with pytest.raises(KeyError) as caught:
            await ref.ask(Please, refuse)
        assert caught.value is error
        assert await ref.ask(Please, echo) == "echo"
    assert dead(log) == []


async def test_the_first_answer_counts() -> None:
    """A second answer, of either kind, is dropped without a word to anyone."""

    async def babble(_: Puppet, reply: Reply[object]) -> None:
        for answer in (1, 2):
            reply.send(answer)
        reply.fail(KeyError())

    async with running(Child("x", Puppet)) as ref:
        assert await ref.ask(Please, babble) == 1
        assert await ref.ask(Please, echo) == "echo"


# --- the end of the actor -----------------------------------------------------------------------------


async def test_a_crash_over_a_request_reaches_the_asker() -> None:
    """The asker of the request that an actor crashes over gets ActorCrashed with the cause, at once."""
    clock, log = FakeClock(), EventLog()
    async with running(Child("x", Puppet), clock=clock, log=log) as ref:
        with pytest.raises(ActorCrashed, match="root/x") as caught:
            await ref.ask(Please, fail)
        assert isinstance(caught.value.__cause__, ValueError)
        assert [reason for _, reason in dead(log)] == ["crashed"]


@pytest.mark.parametrize("code", [SystemExit(3), KeyboardInterrupt()])
async def test_an_exit_over_a_request_reaches_the_asker(code: BaseException) -> None:
    """An actor that asks the process to exit while it handles a request has crashed for its asker."""

    async def leave(_: Puppet, _reply: Reply[object]) -> None:
        raise code

    async with running(Child("x", Puppet), clock=FakeClock()) as ref:
        with pytest.raises(ActorCrashed) as caught:
            await ref.ask(Please, leave)
        assert isinstance(caught.value.__cause__, SystemExit)


async def test_a_queued_request_survives_a_crash() -> None:
    """A request that was queued when the actor crashed is answered by the next incarnation."""
    clock = FakeClock()
    async with running(Child("x", Puppet), clock=clock) as ref, asyncio.TaskGroup() as group:
        crash(ref, RuntimeError())
        asker = group.create_task(ref.ask(Please, echo))
        await clock.advance(1)
        assert asker.result() == "echo"


async def test_a_stop_ends_all_asks() -> None:
    """When an actor stops for good, the request that is cut short and those queued fail with MailboxClosed."""

    async def hang(_: Puppet, _reply: Reply[object]) -> None:
        await anyio.sleep_forever()

    clock, log = FakeClock(), EventLog()
    async with asyncio.TaskGroup() as group:
        async with running(Child("x", Puppet, capacity=2), clock=clock, log=log) as ref:
            askers = [group.create_task(error_of(ref.within(1000), act)) for act in (hang, echo, echo, echo)]
            await settle()
        await settle()
    assert [type(asker.result()) for asker in askers] == [MailboxClosed] * 4
    assert Counter(reason for _, reason in dead(log)) == {"closed": 4}


async def test_giving_up_ends_all_asks() -> None:
    """When a supervisor gives up, the requests that wait for its children fail with MailboxClosed."""
    clock = FakeClock()
    node = Child("x", Puppet, restart=Restart.TRANSIENT)
    pair = Supervisor("pair", [node], max_restarts=1, restart=Restart.TEMPORARY)
    async with running(Supervisor("root", [pair]), clock=clock), asyncio.TaskGroup() as group:
        crash(node.ref, RuntimeError())
        await clock.advance(1)
        crash(node.ref, RuntimeError())
        asker = group.create_task(error_of(node.ref.within(1000), echo))
        await clock.advance(1)
        assert isinstance(asker.result(), MailboxClosed)


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_an_ask_of_a_stopped_actor_fails_at_once(overflow: Overflow) -> None:
    """An ask or a tell after the end raises MailboxClosed and becomes a dead letter."""
    log = EventLog()
    node = Child("x", Puppet, overflow=overflow)
    async with running(node, log=log):
        pass
    with pytest.raises(MailboxClosed):
        await node.ref.ask(Please, echo)
    with pytest.raises(MailboxClosed):
        await node.ref.tell("a")
    with pytest.raises(MailboxClosed):
        node.ref.tell_nowait("b")
    assert [reason for _, reason in dead(log)] == ["closed"] * 3


async def test_an_ask_of_a_full_actor_fails_if_it_must_not_wait() -> None:
    """Under `Overflow.FAIL` an ask that finds no room raises MailboxFull and becomes a dead letter."""
    node = Child("x", Puppet, capacity=1, overflow=Overflow.FAIL)
    await node.ref.tell("a")
    with pytest.raises(MailboxFull):
        await node.ref.ask(Please, echo)
