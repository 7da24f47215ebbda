"""Holds asks to the promise that none waits for itself: a cycle is refused, and only a cycle is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ActorCrashed, AskCycle, AskTimeout, MailboxClosed, MailboxFull, StartFailed
from supervisor.testing import EventLog, FakeClock, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.mailbox import Mailbox
from supervisor.tree.refs import ActorRef, Reply
from supervisor.tree.supervisor import Supervisor
from tests.unit.asking import dead, error_of
from tests.unit.puppet import Answering, Do, Please, Puppet, Told, echo, fail, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator


def puppets(names: str = "a") -> dict[str, Child[Told]]:
    """Declare puppets under these one-letter names."""
    return {name: Child(name, Puppet) for name in names}


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
