"""What follows when a child survives every stage of its stop: never two incarnations at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Child, DynamicSupervisor, OnStall, Restart, Strategy, Supervisor
from supervisor.errors import GaveUp, Unstoppable
from supervisor.testing import crash, settle
from supervisor.tree.events import ChildAbandoned, ChildExited, ChildStarted
from supervisor.tree.outcome import Crashed, Shutdown, Stage
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Diarist, Puppet, Rig, Undying, failure, generations, outlived, states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Provoke = Callable[[Supervisor, Child[object], Child[object]], Awaitable[object]]


class SecondLife(Puppet):
    """Cannot be stopped in its setup, from its second life on."""

    def __init__(self, end: asyncio.Event) -> None:
        super().__init__()
        self.end = end

    async def setup(self) -> None:
        while self._life.generation > 1 and not self.end.is_set():
            try:
                await self.end.wait()
            except asyncio.CancelledError:
                continue


class Zombie(Undying):
    """Outlives its stop, and then tries by all means to read messages."""

    async def run(self) -> None:
        async for message in self.inbox:
            self.seen.append(message)
            await self._outlive("run")
            for _ in range(3):
                self.seen.append(self.inbox.take())
                async for another in self.inbox:
                    self.seen.append(another)


def unstoppable(rig: Rig) -> bool:
    """Tell whether the tree failed because of a child that cannot be stopped."""
    outcome = rig.tree.outcome
    return isinstance(outcome, Crashed) and isinstance(outcome.error, Unstoppable)


def lives(rig: Rig, name: str) -> int:
    """Count how often a child was started, in every incarnation of its supervisor."""
    return len(rig.log.of(ChildStarted, name=name))


async def sibling_fails(_root: Supervisor, sibling: Child[object], _bad: Child[object]) -> None:
    """Let a sibling's failure restart the group."""
    crash(sibling.ref, ValueError())


async def stalls(_root: Supervisor, _sibling: Child[object], _bad: Child[object]) -> None:
    """Do nothing: the child stalls by itself."""


@pytest.mark.parametrize(
    "provoke",
    [
        pytest.param(sibling_fails, id="group restart"),
        pytest.param(lambda root, sibling, bad: failure(root.restart_child("bad")), id="restart by command"),
        pytest.param(lambda root, sibling, bad: failure(root.stop_child("bad")), id="stop by command"),
        pytest.param(stalls, id="stall"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
async def test_an_abandoned_child_takes_the_whole_tree_down(provoke: Provoke, depth: int) -> None:
    """When a child cannot be stopped its supervisor fails, and so does each above it, without a new incarnation."""
    end, diary = asyncio.Event(), list[str]()
    sibling = Child("sibling", partial(Diarist, diary))
    if provoke is stalls:
        bad = Child("bad", lambda: Undying(end), stall_after=30, on_stall=OnStall.RESTART)
    else:
        bad = Child("bad", lambda: Undying(end))
    inner = root = Supervisor("inner", [sibling, bad], Strategy.ONE_FOR_ALL)
    for level in range(depth):
        root = Supervisor(f"level{level}", [Child(f"pal{level}", partial(Diarist, diary)), root])
    rig = Rig(root)
    await rig.tree.start()
    diary.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(as_coroutine(provoke(inner, sibling, bad)))
        await rig.ended()
    assert unstoppable(rig)
    assert lives(rig, "bad") == lives(rig, "inner") == 1
    assert len(rig.log.of(ChildAbandoned)) == 1
    assert sorted(diary) == sorted(["teardown sibling", *(f"teardown pal{level}" for level in range(depth))])
    end.set()
    assert await outlived("inner", "level") == []


async def as_coroutine(work: Awaitable[object]) -> None:
    """Await anything as a task."""
    await work


async def test_a_child_abandoned_in_its_teardown_takes_the_tree_down() -> None:
    """A crashed child whose teardown cannot be stopped is not restarted beside it."""
    end = asyncio.Event()
    child = Child("bad", lambda: Undying(end, "teardown"))
    rig = Rig(Supervisor("root", [child, Child("good", Puppet)]))
    await rig.tree.start()
    crash(child.ref, ValueError())
    await rig.ended()
    end.set()
    assert unstoppable(rig)
    assert lives(rig, "bad") == 1


async def test_a_child_abandoned_in_the_setup_of_its_restart_takes_the_tree_down() -> None:
    """A restart whose setup cannot be stopped is not taken for a success, nor tried again."""
    end = asyncio.Event()
    child = Child("bad", lambda: SecondLife(end), start_timeout=5)
    rig = Rig(Supervisor("root", [child, Child("good", Puppet)]))
    await rig.tree.start()
    crash(child.ref, ValueError())
    await rig.clock.advance(60)
    outcome, started = rig.tree.outcome, generations(rig.tree)
    end.set()
    await rig.stop()
    assert isinstance(outcome, Crashed), f"the tree goes on without its child: {started}"
    assert isinstance(outcome.error, Unstoppable)


async def test_a_nested_restart_that_fails_over_a_zombie_takes_the_tree_down() -> None:
    """A supervisor is not restarted beside a child that it had to abandon when its own restart failed."""
    end = asyncio.Event()
    errors: list[Exception] = []
    bad_after_restart: list[Actor[object]] = [Puppet()]

    def make() -> Actor[object]:
        return bad_after_restart.pop() if bad_after_restart else Undying(end)

    failing = Child("failing", partial(BadStarts, errors))
    nested = Supervisor("nested", [Child("bad", make), failing], max_restarts=1)
    rig = Rig(Supervisor("root", [nested]))
    await rig.tree.start()
    errors += [OSError("the restart that makes it give up"), OSError("the start of its next life")]
    crash(failing.ref, ValueError())
    await rig.clock.advance(60)
    found = lives(rig, "bad")
    end.set()
    await rig.stop()
    assert found == 2, "the first life, and the one that was abandoned"
    assert unstoppable(rig)


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TEMPORARY])
async def test_a_zombie_left_by_giving_up_reaches_the_root(restart: Restart) -> None:
    """A supervisor that gives up and leaves a zombie is not restarted, and the whole tree stops."""
    end = asyncio.Event()
    failing = Child("failing", Puppet)
    nested = Supervisor("nested", [Child("bad", lambda: Undying(end)), failing], max_restarts=1, restart=restart)
    rig = Rig(Supervisor("root", [nested, Child("good", Puppet)]))
    await rig.tree.start()
    for _ in range(2):
        crash(failing.ref, ValueError())
        await rig.clock.advance(1)
    await rig.ended()
    end.set()
    assert unstoppable(rig)
    exits = [event.outcome for event in rig.log.of(ChildExited, name="nested")]
    assert [type(outcome.error) for outcome in exits if isinstance(outcome, Crashed)] == [GaveUp]


async def test_a_dynamic_child_abandoned_in_its_setup_takes_the_tree_down() -> None:
    """A dynamic supervisor fails, too, when a child cannot be stopped in its setup."""
    end = asyncio.Event()
    dynamic = DynamicSupervisor("dynamic")
    rig = Rig(Supervisor("root", [dynamic]))
    await rig.tree.start()
    async with asyncio.TaskGroup() as group:
        start = group.create_task(failure(dynamic.start_child(Child("bad", lambda: Undying(end, "setup")))))
        await rig.clock.advance(60)
        outcome = rig.tree.outcome
        end.set()
        await rig.stop()
    assert start.result() is not None
    assert isinstance(outcome, Crashed)
    assert isinstance(outcome.error, Unstoppable)


@asynccontextmanager
async def replaced() -> AsyncIterator[tuple[Rig, Child[object], Zombie, list[object]]]:
    """Run a tree in which a zombie has a successor."""
    end, seen = asyncio.Event(), list[object]()
    zombie = Zombie(end)
    actors: list[Actor[object]] = [Puppet(seen), zombie]
    child = Child("a", actors.pop, replaceable=True)
    root = Supervisor("root", [child])
    rig = Rig(root)
    await rig.tree.start()
    child.ref.tell_nowait("for the zombie")
    await settle()
    async with asyncio.TaskGroup() as group:
        group.create_task(root.restart_child("a"))
        await rig.clock.advance(10)
    yield rig, child, zombie, seen
    await rig.stop()
    end.set()
    assert await outlived("root") == []
    assert rig.runtime.abandoned == set()


async def test_a_replaceable_child_is_replaced() -> None:
    """A child that says it may be replaced gets a new incarnation beside the abandoned one."""
    async with replaced() as (rig, _, zombie, _):
        assert (states(rig.tree), generations(rig.tree)) == ({"a": State.RUNNING}, {"a": 2})
        assert [life.generation for life in rig.runtime.abandoned] == [1]
        assert rig.log.of(ChildExited, name="a")[0].outcome == Shutdown(Stage.ABANDONED)
        assert zombie.swallowed > 0
        assert await rig.stop() == Shutdown(Stage.DRAINING)


async def test_a_zombie_reads_nothing_of_its_successor() -> None:
    """Messages go to the successor only, while the zombie lives, when it wakes up, and after its end."""
    async with replaced() as (_, child, zombie, seen):
        child.ref.tell_nowait(1)
        await settle()
        child.ref.tell_nowait(2)
        zombie.end.set()
        await settle()
        child.ref.tell_nowait(3)
        await settle()
        assert seen == [1, 2, 3]
        assert [message for message in zombie.seen if isinstance(message, str | int)] == ["for the zombie"]


async def test_a_zombies_end_changes_nothing() -> None:
    """The late end of an abandoned task, even a crash, is no event of the tree and restarts nobody."""
    async with replaced() as (rig, _, zombie, _):
        rig.mark()
        task = next(life.task for life in rig.runtime.abandoned)
        zombie.where = ()
        task.cancel()
        zombie.end.set()
        await settle()
        assert task.done()
        assert rig.log.events == []
        assert generations(rig.tree) == {"a": 2}


async def test_a_zombie_burns_no_core() -> None:
    """Once abandoned, a task that swallows cancels is left alone instead of being cancelled for ever."""
    async with replaced() as (rig, _, zombie, _):
        before = zombie.swallowed
        await rig.clock.advance(1)
        assert zombie.swallowed == before
