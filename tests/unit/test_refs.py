"""Holds addresses to their promise: every ask ends, with an answer or with an error that says why."""

from __future__ import annotations

import asyncio
import gc
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ActorCrashed, AskCycle, AskTimeout, MailboxClosed, MailboxFull, StartFailed
from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Restart
from supervisor.tree.events import DeadLetter
from supervisor.tree.mailbox import Mailbox, Overflow
from supervisor.tree.refs import ActorRef, Reply
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Answering, Do, Please, Puppet, Told, echo, fail, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Join:
    """Answer with the parts joined."""

    reply: Reply[str]
    first: str
    second: str = "none"


class Joiner(Actor[Join]):
    async def handle(self, message: Join) -> None:
        message.reply.send(f"{message.first}+{message.second}")


def puppets(names: str = "a") -> dict[str, Child[Told]]:
    """Declare puppets under these one-letter names."""
    return {name: Child(name, Puppet) for name in names}


def dead(log: EventLog) -> list[tuple[object, str]]:
    """List the dead letters so far, with their reasons."""
    return [(letter.message, letter.reason.value) for letter in log.of(DeadLetter)]


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


# --- limits -------------------------------------------------------------------------------------------


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


async def error_of(ref: ActorRef[Please], act: Answering) -> BaseException | None:
    """Ask, and return the error."""
    try:
        await ref.ask(Please, act)
    except Exception as error:  # noqa: BLE001 - the error is the result
        return error
    return None


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


# --- nothing reaches the loop's exception handler -----------------------------------------------------


class Complaints:
    """Collects what reaches the event loop's exception handler."""

    def __init__(self) -> None:
        self.all: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.all.append(str(context["message"])))

    def collect(self) -> list[str]:
        gc.collect()
        return self.all


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


# --- cycles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3, 5])
async def test_a_cycle_of_asks_is_refused_at_once(length: int) -> None:
    """An ask that would wait for its own asker raises AskCycle, without waiting, and names the chain."""
    names = "abcde"[:length]
    nodes = puppets(names)

    def step(number: int) -> Answering:
        async def go_on(_: Puppet, reply: Reply[object]) -> None:
            following = nodes[names[(number + 1) % length]].ref
            try:
                reply.send(await following.ask(Please, step(number + 1)))
            except AskCycle as error:
                reply.fail(error)

        return go_on

    clock = FakeClock()
    async with running(Supervisor("root", [*nodes.values()]), clock=clock), asyncio.TaskGroup() as group:
        asker = group.create_task(error_of(nodes["a"].ref, step(0)))
        await settle()
        error = asker.result()
    assert isinstance(error, AskCycle)
    last = names[-1]
    ring = [last, *names[:-1], last]
    assert str(error).endswith(" -> ".join(f"root/{name}" for name in ring))


async def test_the_same_chain_is_no_cycle_twice() -> None:
    """Two actors may ask each other by turns: what was answered, expired or refused is forgotten."""
    clock = FakeClock()
    nodes = puppets("ab")
    a, b = nodes["a"].ref, nodes["b"].ref
    seen: list[object] = []

    async def ask_b(_: Puppet, reply: Reply[object]) -> None:
        seen.extend([await error_of(b.within(1), act) for act in (echo, nothing, fail)])
        reply.send("done")

    async def ask_a(_: Puppet, reply: Reply[object]) -> None:
        reply.send(await a.ask(Please, echo))

    async with running(Supervisor("root", [*nodes.values()]), clock=clock), asyncio.TaskGroup() as group:
        first = group.create_task(a.within(100).ask(Please, ask_b))
        await clock.advance(2)
        assert first.result() == "done"
        second = group.create_task(b.within(100).ask(Please, ask_a))
        await clock.advance(2)
        assert second.result() == "echo"
    assert [type(error) for error in seen] == [type(None), AskTimeout, ActorCrashed]


@pytest.mark.parametrize("answer", ["send", "fail"])
async def test_whoever_has_its_answer_waits_no_more(answer: str) -> None:
    """An actor that has just answered may ask its asker at once: that one waits for nobody any more."""
    clock = FakeClock()
    nodes = puppets("ab")
    a, b = nodes["a"].ref, nodes["b"].ref
    results: list[object] = []

    async def ask_b(_: Puppet) -> None:
        await error_of(b, answer_and_ask_back)

    async def answer_and_ask_back(_: Puppet, reply: Reply[object]) -> None:
        if answer == "send":
            reply.send(1)
        else:
            reply.fail(KeyError())
        results.append(await a.ask(Please, echo))

    async with running(Supervisor("root", [*nodes.values()]), clock=clock):
        await a.tell(Do(ask_b))
        await settle()
    assert results == ["echo"]


async def test_an_ask_from_a_subtask_blocks_nobody() -> None:
    """An actor may ask itself from a task of its own: it goes on reading meanwhile."""

    async def ask_myself(puppet: Puppet) -> None:
        group.create_task(collect(puppet))

    async def collect(puppet: Puppet) -> None:
        answers.append(await node.ref.ask(Please, echo))

    answers: list[object] = []
    node = Child("x", Puppet)
    async with running(node, clock=FakeClock()), asyncio.TaskGroup() as group:
        await node.ref.tell(Do(ask_myself))
        await settle()
    assert answers == ["echo"]


async def test_a_tell_is_no_part_of_a_cycle() -> None:
    """Two actors that tell each other while one asks are no cycle."""
    nodes = puppets("ab")
    a, b = nodes["a"].ref, nodes["b"].ref

    async def tell_a(_: Puppet, reply: Reply[object]) -> None:
        await a.tell("hello")
        reply.send("told")

    async def ask_b(_: Puppet, reply: Reply[object]) -> None:
        reply.send(await b.ask(Please, tell_a))

    async with running(Supervisor("root", [*nodes.values()]), clock=FakeClock()):
        assert await a.ask(Please, ask_b) == "told"


async def test_a_child_that_asks_the_supervisor_that_starts_it_is_told() -> None:
    """A child whose setup asks its own supervisor gets AskCycle instead of a deadlock."""

    class Grows(Actor[object]):
        async def setup(self) -> None:
            await supervisor.add_child(Child("more", Puppet))

    supervisor = Supervisor("root", [])
    async with running(supervisor, clock=FakeClock()):
        with pytest.raises(StartFailed) as caught:
            await supervisor.add_child(Child("grows", Grows))
    assert isinstance(caught.value.__cause__, AskCycle)


class Watched(Mailbox[object]):
    """A mailbox that fails the test when a walk of the wait-for graph passes it too often."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.passed = 0

    def __getattribute__(self, name: str) -> object:
        if name == "waiting_on":
            self.passed += 1
            assert self.passed < 1000, "the walk goes round in a circle"
        return super().__getattribute__(name)


async def test_the_search_for_a_cycle_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child and its supervisor that wait for each other during a stop do not trap an asker from outside."""
    monkeypatch.setattr("supervisor.tree.supervisor.Mailbox", Watched)
    clock = FakeClock()
    nodes = puppets("abc")
    supervisor = Supervisor("root", [*nodes.values()])
    results: list[object] = []

    async def ask_for_a_stop(_: Puppet) -> None:
        await supervisor.stop_child("b")

    async def ask_a(_: Puppet) -> None:
        results.append(await error_of(nodes["a"].ref.within(1), echo))

    async def hang(_: Puppet) -> None:
        await anyio.sleep_forever()

    async with running(supervisor, clock=clock), asyncio.TaskGroup() as group:
        await nodes["b"].ref.tell(Do(hang))
        await settle()
        # The supervisor is busy with b for 5 s; then it stops a, which waits for the supervisor.
        group.create_task(supervisor.stop_child("b"))
        await settle()
        stop = group.create_task(supervisor.stop_child("a"))
        await settle()
        await nodes["a"].ref.tell(Do(ask_for_a_stop))
        await clock.advance(6)
        await nodes["c"].ref.tell(Do(ask_a))
        await clock.advance(10)
        assert stop.done()
    assert len(results) == 1
    assert isinstance(results[0], MailboxClosed | AskTimeout | AskCycle)


# --- properties ---------------------------------------------------------------------------------------


def routes() -> st.SearchStrategy[list[list[int]]]:
    """Random requests: each is a list of the actors through which it is to be passed on."""
    return st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=8)


@hypothesis.given(routes())
async def test_no_pattern_of_asks_ever_hangs(paths: list[list[int]]) -> None:
    """Whatever actors ask each other at the same time, every ask is answered or refused before any limit."""
    nodes = list(puppets("abcde").values())

    def through(path: list[int]) -> Answering:
        async def go_on(_: Puppet, reply: Reply[object]) -> None:
            await asyncio.sleep(0)
            if not path:
                reply.send("end")
                return
            try:
                reply.send(await nodes[path[0]].ref.ask(Please, through(path[1:])))
            except AskCycle as error:
                reply.fail(error)

        return go_on

    async with running(Supervisor("root", nodes), clock=FakeClock()), asyncio.TaskGroup() as group:
        askers = [group.create_task(error_of(nodes[path[0]].ref, through(path[1:]))) for path in paths]
        for _ in range(20):
            if all(asker.done() for asker in askers):
                break
            await settle()
        assert {type(asker.result()) for asker in askers} <= {type(None), AskCycle}


@hypothesis.given(st.lists(st.integers(0, 4), min_size=1, max_size=7))
async def test_only_a_chain_that_bites_its_tail_is_a_cycle(path: list[int]) -> None:
    """A single chain of asks is answered if and only if no actor occurs in it twice."""
    nodes = list(puppets("abcde").values())

    def through(rest: Iterator[int]) -> Answering:
        async def go_on(_: Puppet, reply: Reply[object]) -> None:
            following = next(rest, None)
            if following is None:
                reply.send("end")
                return
            try:
                reply.send(await nodes[following].ref.ask(Please, through(rest)))
            except AskCycle as error:
                reply.fail(error)

        return go_on

    rest = iter(path)
    async with running(Supervisor("root", nodes), clock=FakeClock()):
        error = await error_of(nodes[next(rest)].ref, through(rest))
    assert isinstance(error, AskCycle) == (len(set(path)) < len(path))


async def test_nobody_waits_for_room_in_its_own_mailbox() -> None:
    """An actor that tells itself something while its mailbox is full gets MailboxFull: only it could make room."""
    caught: list[Exception] = []

    async def tell_myself(puppet: Puppet, reply: Reply[object]) -> None:
        own = puppet._life.node.mailbox
        try:
            for _ in range(3):
                await ActorRef[object](own).tell("note")
        except MailboxFull as error:
            caught.append(error)
        reply.send("done")

    log = EventLog()
    async with running(Child("x", lambda: Puppet(), capacity=2), clock=FakeClock(), log=log) as ref:  # noqa: PLW0108
        assert await ref.ask(Please, tell_myself) == "done"
    assert len(caught) == 1
    assert "full" in [reason for _, reason in dead(log)]
