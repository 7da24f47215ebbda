"""Every kind of actor, kind or hostile, started and stopped over and over: nothing may be left behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from supervisor import Actor, Child, Down, Drain, DynamicSupervisor, OnStall, Reply, Restart, Strategy, Supervisor
from supervisor.errors import NotRunning, StartFailed
from supervisor.testing import BadSetup, EventLog, FakeClock, Shielded, Slow, Stubborn, crash, running, settle
from supervisor.tree.events import ChildStarted
from supervisor.tree.runtime import Runtime
from supervisor.tree.slot import State
from supervisor.tree.tree import Tree
from tests.tree.actors import Puppet, Rig, outlived, states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from supervisor import ActorRef
    from supervisor.tree.child import Node

TIMES = 50


PLACE: ContextVar[str] = ContextVar("place", default="outside")


class Rooted(Actor[object]):
    """Notes task and context of each phase of its life."""

    def __init__(self, notes: list[tuple[str, object, str]]) -> None:
        self.notes = notes

    def _note(self, phase: str) -> None:
        self.notes.append((phase, asyncio.current_task(), PLACE.get()))

    async def setup(self) -> None:
        PLACE.set(self.name)
        self._note("setup")

    async def run(self) -> None:
        self._note("run")
        await super().run()

    async def teardown(self) -> None:
        self._note("teardown")


@dataclass(frozen=True)
class Question:
    """A request that its receiver answers late, or never."""

    reply: Reply[int]


class Busy(Puppet):
    """Uses all that an actor has: timers, ticks, monitors, resources, asks."""

    def __init__(self, pal: ActorRef[object]) -> None:
        super().__init__()
        self.pal = pal

    @asynccontextmanager
    async def _resource(self) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(0)

    async def setup(self) -> None:
        await self.enter(self._resource())
        self.monitor(self.pal)
        self.after(100, "never")
        self.after(0.01, "soon")

    async def handle(self, message: object) -> None:
        if isinstance(message, Down):
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self.sleep(1000))
            await self.pal.within(1000).ask(Question)

    async def _tick(self) -> None:
        async for _ in self.every(0.5):
            pass


class CrashLoop(Actor[object]):
    async def run(self) -> None:
        raise ValueError


class SlowTeardown(Slow):
    async def teardown(self) -> None:
        await anyio.sleep_forever()


def busy() -> Child[object]:
    """Make an actor that waits for the answer of one that never gives it."""
    mute: Child[object] = Child("mute", Puppet)
    return Child("a", partial(Busy, mute.ref), drain=Drain.QUEUE, stop_timeout=0.5)


def nested() -> Supervisor:
    """Make a tree of all the polite kinds, and of a failing one."""
    inner = Supervisor("inner", [Child("bad", CrashLoop), busy()], Strategy.ONE_FOR_ALL, restart=Restart.TRANSIENT)
    return Supervisor("nested", [inner, DynamicSupervisor("dynamic"), Child("tail", Puppet)], Strategy.REST_FOR_ONE)


KINDS: dict[str, Callable[[list[Stubborn]], Node]] = {
    "polite": lambda _: Child("a", Puppet),
    "slow": lambda _: Child("a", Slow, stop_timeout=0.5),
    "slow at once": lambda _: Child("a", Slow, stop_timeout=0),
    "slow teardown": lambda _: Child("a", SlowTeardown, stop_timeout=0, teardown_timeout=0.5),
    "shielded": lambda _: Child("a", Shielded, stop_timeout=0, cancel_grace=0.2),
    "stubborn": lambda made: Child("a", partial(recorded, made), stop_timeout=0, cancel_grace=0.2),
    "bad setup": lambda _: Child("a", BadSetup),
    "crash loop": lambda _: Child("a", CrashLoop),
    "temporary": lambda _: Child("a", CrashLoop, restart=Restart.TEMPORARY),
    "busy": lambda _: busy(),
    "stalling": lambda _: Child("a", Slow, stall_after=0.1, on_stall=OnStall.RESTART, stop_timeout=0),
    "nested": lambda _: nested(),
    "dynamic": lambda _: DynamicSupervisor("dynamic"),
}


def recorded(made: list[Stubborn]) -> Stubborn:
    """Make a stubborn actor that can be released later."""
    made.append(Stubborn())
    return made[-1]


@pytest.mark.parametrize("kind", KINDS)
async def test_start_and_stop_leave_nothing_behind(kind: str) -> None:
    """A child survives being started, run, stopped and stopped again many times, without a task or a timer left."""
    made: list[Stubborn] = []
    tasks = asyncio.all_tasks()
    node = KINDS[kind](made)
    root = Supervisor("root", [Child("first", Puppet), node, Child("last", Puppet)])
    for number in range(TIMES):
        clock = FakeClock()
        tree = Tree(root, Runtime(clock=clock, seed=number))
        tree.stop()
        with suppress(StartFailed):
            await tree.start()
        if isinstance(node, Child):
            node.ref.mailbox.put_control("hello")
        await clock.advance(0.37 * (number % 3))
        tree.stop()
        tree.stop()
        for _ in range(40):
            await clock.advance(0.25)
            if tree.outcome is not None:
                break
        await tree.wait()
        tree.stop()
        for actor in made:
            actor.release()
        assert await outlived("root") == []
        assert asyncio.all_tasks() == tasks
        assert clock.pending == 0
        assert tree.runtime.deadline.stopping == tree.runtime.abandoned == set()


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_at_any_moment_of_a_start_leaves_nothing_behind(turns: int) -> None:
    """However far a tree has come with its start when it is stopped, it ends and leaves nothing."""
    rig = Rig(Supervisor("root", [Child("first", Puppet), nested(), Child("last", Puppet)]))
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.tree.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        rig.tree.stop()
        await rig.ended() if turns else await settle()
    if not turns:
        await rig.stop()
    assert await outlived("root") == []
    assert rig.clock.pending == 0


async def test_a_tree_that_never_started_can_be_stopped_but_not_awaited() -> None:
    """A stop before the start does nothing, and there is no end to wait for."""
    rig = Rig(Supervisor("root", [Child("a", Puppet)]))
    rig.tree.stop()
    with pytest.raises(NotRunning, match="never started"):
        await rig.tree.wait()
    await rig.tree.start()
    assert states(rig.tree) == {"a": State.RUNNING}
    await rig.stop()


async def test_the_real_clock_serves_as_well() -> None:
    """On the machine's own clock a tree starts, restarts a child after its backoff, and stops."""
    child = Child("a", Puppet)
    log = EventLog()
    async with running(Supervisor("root", [child, Child("b", Slow, stop_timeout=0.01)]), log=log) as tree:
        crash(child.ref, ValueError())
        await settle()
        assert states(tree) == {"a": State.BACKOFF, "b": State.RUNNING}
        restarted = await log.expect(ChildStarted, name="a", count=2)
        assert restarted.generation == 2
        assert states(tree) == {"a": State.RUNNING, "b": State.RUNNING}
    assert await outlived("root") == []


async def test_setup_run_and_teardown_share_one_task() -> None:
    """What `setup` puts into its context, `run` and `teardown` find there, and the parent does not."""
    notes: list[tuple[str, object, str]] = []
    async with running(Child("actor", partial(Rooted, notes))):
        await settle()
    assert [(phase, place) for phase, _, place in notes] == [
        ("setup", "actor"),
        ("run", "actor"),
        ("teardown", "actor"),
    ]
    assert len({task for _, task, _ in notes}) == 1
    assert PLACE.get() == "outside"


async def test_every_incarnation_is_a_new_instance() -> None:
    """A restart builds a new actor from the factory."""
    made: list[Actor[object]] = []

    def factory() -> Puppet:
        made.append(Puppet())
        return made[-1]  # type: ignore[return-value]

    child, clock = Child("a", factory), FakeClock()
    async with running(child, clock=clock):
        crash(child.ref, ValueError())
        await clock.advance(1)
    assert len(made) == len({id(actor) for actor in made}) == 2
