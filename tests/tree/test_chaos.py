"""Random trees of kind and hostile actors under random crashes, commands and deadlines: what must always hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Actor, Backoff, Child, Drain, DynamicSupervisor, Restart, Strategy, Supervisor
from supervisor.errors import StartFailed
from supervisor.testing import FakeClock, settle
from supervisor.tree.events import DeadLetter
from supervisor.tree.keeper import Ended, RestartDue
from supervisor.tree.runtime import Runtime
from supervisor.tree.tree import Tree
from tests.tree.actors import failure, outlived

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.tree.child import Node

HOSTILE = ["slow", "shielded", "stubborn", "slow setup", "slow teardown", "stubborn teardown", "bad setup"]
KINDS = ["polite", "polite", "polite", *HOSTILE]


@dataclass
class World:
    """What all actors of one example share."""

    random: random.Random
    end: asyncio.Event = field(default_factory=asyncio.Event)
    alive: Counter[str] = field(default_factory=Counter)
    doubles: list[str] = field(default_factory=list)
    children: list[Child[object]] = field(default_factory=list)
    supervisors: list[Supervisor] = field(default_factory=list)


class Guest(Actor[object]):
    """Behaves as its kind demands, in some of its lives, and tells when it is not alone."""

    def __init__(self, world: World, kind: str) -> None:
        self.world = world
        self.kind = kind if world.random.random() < 0.5 else "polite"

    async def setup(self) -> None:
        world, path = self.world, self.path
        world.alive[path] += 1
        if world.alive[path] > 1:
            world.doubles.append(path)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: world.alive.subtract([path]))
        if self.kind == "slow setup":
            await self._until(0.5)
        if self.kind == "bad setup" and world.random.random() < 0.5:
            raise OSError

    async def run(self) -> None:
        if self.kind == "slow":
            await anyio.sleep_forever()
        if self.kind == "shielded":
            with anyio.CancelScope(shield=True):
                await anyio.sleep_forever()
        if self.kind == "stubborn":
            await self._outlive()
        await super().run()

    async def handle(self, message: object) -> None:
        if isinstance(message, BaseException):
            raise message
        if self.world.random.random() < 0.3:
            await self.sleep(0.3)

    async def teardown(self) -> None:
        if self.kind == "slow teardown":
            await self._until(10)
        if self.kind == "stubborn teardown":
            await self._outlive()

    async def _until(self, seconds: float) -> None:
        passed = anyio.Event()
        self.clock.call_later(seconds, passed.set)
        await passed.wait()

    async def _outlive(self) -> None:
        while not self.world.end.is_set():
            try:
                await self.world.end.wait()
            except asyncio.CancelledError:
                continue


def grow(world: World, name: str, depth: int) -> Node:
    """Make a random child, or a supervisor of some."""
    chance = world.random
    restart = chance.choice(list(Restart))
    if depth and chance.random() < 0.5:
        if chance.random() < 0.2:
            node: Supervisor = DynamicSupervisor(name, restart=restart)
        else:
            children = [grow(world, f"{name}{number}", depth - 1) for number in range(chance.randint(1, 3))]
            node = Supervisor(name, children, chance.choice(list(Strategy)), restart=restart)
        world.supervisors.append(node)
        return node
    child: Child[object] = Child(
        name,
        partial(Guest, world, chance.choice(KINDS)),
        restart=restart,
        stop_timeout=chance.choice([0, 0.5, 2]),
        cancel_grace=0.25,
        teardown_timeout=0.5,
        start_timeout=1,
        drain=chance.choice(list(Drain)),
        backoff=Backoff(cap=0.4, healthy_after=1),
        replaceable=False,
    )
    world.children.append(child)
    return child


async def disturb(world: World, tree: Tree, group: asyncio.TaskGroup, clock: FakeClock) -> None:
    """Do one thing that may happen to a tree."""
    chance = world.random
    for child in chance.sample(world.children, min(len(world.children), chance.randint(0, 2))):
        if child.mailbox.alive:
            child.mailbox.put_control(chance.choice([ValueError(), "work", asyncio.CancelledError()]))
    if chance.random() < 0.4:
        supervisor = chance.choice(world.supervisors)
        name = chance.choice([child.name for child in world.children])
        guest = Child(f"guest{chance.randint(0, 3)}", partial(Guest, world, chance.choice(KINDS)))
        commands = [
            supervisor.stop_child(name),
            supervisor.restart_child(name),
            supervisor.remove_child(name),
            supervisor.add_child(guest),
        ]
        chosen = chance.choice(commands)
        for command in commands:
            if command is chosen:
                group.create_task(failure(command))
            else:
                command.close()
    tree.snapshot(stacks=True)
    await clock.advance(chance.choice([0, 0.1, 0.3, 1, 3]))


async def live_and_die(seed: int) -> None:
    """Run one example."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    world = World(random.Random(seed))  # noqa: S311 - chance, not secrets
    chance = world.random
    nodes = [grow(world, name, 2) for name in "abc"[: chance.randint(1, 3)]]
    nodes.append(Child("last", partial(Guest, world, "polite")))
    world.children.append(nodes[-1])  # type: ignore[arg-type]
    root = Supervisor("root", nodes, chance.choice(list(Strategy)))
    world.supervisors.append(root)
    clock = FakeClock()
    letters: list[object] = []
    runtime = Runtime(clock=clock, seed=seed)
    runtime.subscribe(lambda event: letters.append(event.message) if isinstance(event, DeadLetter) else None)
    tree = Tree(root, runtime)
    async with asyncio.TaskGroup() as group:
        start = group.create_task(failure(tree.start()))
        await clock.advance(chance.choice([0, 0.3, 10]))
        for _ in range(chance.randint(0, 15)):
            if tree.outcome is None:
                await disturb(world, tree, group, clock)
        if chance.random() < 0.3:
            runtime.deadline.tighten(clock.now() + 1, clock.now() + 2)
        tree.stop()
        await clock.advance(chance.choice([0, 1]))
        tree.stop()
        for _ in range(200):
            await clock.advance(0.5)
            if tree.outcome is not None:
                break
        assert tree.outcome is not None, "the stop does not come to an end"
        await tree.wait()
    assert start.result() is None or isinstance(start.result(), StartFailed)
    zombies = {life.task for life in runtime.abandoned}
    assert {task for task in asyncio.all_tasks() if task.get_name().startswith("root")} == zombies
    world.end.set()
    assert await outlived("root") == []
    await settle()
    assert runtime.abandoned == set()
    assert world.doubles == [], "two incarnations of one child at the same time"
    assert +world.alive == Counter()
    assert complaints == []
    assert [letter for letter in letters if isinstance(letter, Ended | RestartDue)] == []


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """Provide one loop for all examples."""
    with asyncio.Runner(debug=False) as runner:
        yield runner


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_a_tree_always_comes_to_an_end_and_leaves_nothing(runner: asyncio.Runner, seed: int) -> None:
    """Whatever happens, no child has two incarnations at once, every stop ends, and only zombies outlive it."""
    runner.run(live_and_die(seed))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(seed=st.integers(0, 2**32))
def test_a_tree_always_comes_to_an_end_for_long(runner: asyncio.Runner, seed: int) -> None:
    """The same holds for as many examples as the soak profile asks for."""
    runner.run(live_and_die(seed))
