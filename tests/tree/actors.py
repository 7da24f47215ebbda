"""Actors and views of a tree that several tests here share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor import Actor
from supervisor.testing import EventLog, FakeClock, settle
from supervisor.tree.runtime import Runtime
from supervisor.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from supervisor import Child, Supervisor
    from supervisor.tree.events import Event
    from supervisor.tree.outcome import Outcome
    from supervisor.tree.slot import State

T = TypeVar("T")
E = TypeVar("E", bound="Event")

REAL_LIMIT = 10.0


class Puppet(Actor[object]):
    """Raises every exception it is sent, and keeps everything else in `seen`."""

    def __init__(self, seen: list[object] | None = None) -> None:
        self.seen = [] if seen is None else seen

    async def handle(self, message: object) -> None:
        if isinstance(message, BaseException):
            raise message
        self.seen.append(message)


class Diarist(Puppet):
    """Writes what happens to it into a diary: `setup a`, `teardown a`."""

    def __init__(self, diary: list[str]) -> None:
        super().__init__()
        self.diary = diary

    async def setup(self) -> None:
        self.diary.append(f"setup {self.name}")

    async def teardown(self) -> None:
        self.diary.append(f"teardown {self.name}")


class Gated(Diarist):
    """Stays in its setup until the gate opens."""

    def __init__(self, gate: asyncio.Event, diary: list[str] | None = None) -> None:
        super().__init__([] if diary is None else diary)
        self.gate = gate

    async def setup(self) -> None:
        self.diary.append(f"enter {self.name}")
        await self.gate.wait()
        self.diary.append(f"setup {self.name}")


class BadStarts(Puppet):
    """Fails its setup as long as the list has errors, one for each start."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__()
        self.errors = errors

    async def setup(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class Undying(Puppet):
    """Swallows every cancel, in the named methods, until `end` is set; counts how often."""

    def __init__(self, end: asyncio.Event, *where: str) -> None:
        super().__init__()
        self.end = end
        self.where = where or ("run",)
        self.swallowed = 0

    async def _outlive(self, method: str) -> None:
        while method in self.where and not self.end.is_set():
            try:
                await self.end.wait()
            except asyncio.CancelledError:
                self.swallowed += 1

    async def setup(self) -> None:
        await self._outlive("setup")

    async def run(self) -> None:
        await self._outlive("run")
        await super().run()

    async def teardown(self) -> None:
        await self._outlive("teardown")


class Rig:
    """A tree on a fake clock, with a record of what happened when, for tests that need every handle."""

    def __init__(self, root: Supervisor) -> None:
        self.clock = FakeClock()
        self.log = EventLog()
        self.runtime = Runtime(clock=self.clock, seed=0)
        self.runtime.subscribe(self.log)
        self.times: list[tuple[float, Event]] = []
        self.began = self.clock.now()
        self.runtime.subscribe(lambda event: self.times.append((self.clock.now() - self.began, event)))
        self.tree = Tree(root, self.runtime)

    def when(self, kind: type[E], **fields: object) -> list[float]:
        """Seconds from the last `mark` to each of these events, rounded to a millisecond."""
        wanted = self.log.of(kind, **fields)
        return [round(time, 3) for time, event in self.times if any(event is one for one in wanted)]

    def mark(self) -> None:
        """Forget the events so far and count seconds from now."""
        self.times.clear()
        self.log.events.clear()
        self.began = self.clock.now()

    async def stop(self, limit: float = 100.0) -> Outcome:
        """Stop the tree and turn the clock until it has ended, for at most `limit` seconds."""
        self.tree.stop()
        return await self.ended(limit)

    async def ended(self, limit: float = 100.0) -> Outcome:
        """Turn the clock until the tree has ended."""
        until = self.clock.now() + limit
        await settle()
        while self.tree.outcome is None:
            assert self.clock.now() < until, f"the tree runs after {limit:g} s: {states(self.tree)}"
            await self.clock.advance(0.25)
        return await self.tree.wait()


def states(tree: Tree) -> dict[str, State]:
    """State of each node but the root, by name."""
    return {node.name: node.state for node in tree.snapshot().walk() if node.path != tree.root.name}


def generations(tree: Tree) -> dict[str, int]:
    """How often each node but the root was started, by name."""
    return {node.name: node.generation for node in tree.snapshot().walk() if node.path != tree.root.name}


async def during(work: Coroutine[object, object, T], then: Callable[[], Coroutine[object, object, None]]) -> T:
    """Run `then` while `work` is under way, and return what `work` returns."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        await settle()
        assert not task.done(), "the work was over before the test could act"
        await then()
    return task.result()


async def failure(work: Coroutine[object, object, object]) -> Exception | None:
    """Return the error that `work` raises, for work in a task group that must outlive it."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - the caller checks which
        return error
    return None


async def outlived(*paths: str) -> list[str]:
    """Names of tasks of the tree, below these paths, that do not end by themselves in a moment."""
    tasks = {task for task in asyncio.all_tasks() if task.get_name().startswith(paths)}
    if tasks:
        await asyncio.wait(tasks, timeout=REAL_LIMIT)
    return sorted(task.get_name() for task in tasks if not task.done())


def task_names(path: str = "root") -> list[str]:
    """Names of the tasks of the tree that live now."""
    return sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(path))


def task_of(child: Child[Any]) -> asyncio.Task[Any]:
    """Find the task of a running child."""
    return next(task for task in asyncio.all_tasks() if task.get_name() == child.ref.path)
