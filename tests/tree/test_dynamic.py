"""Children that come and go: started and stopped together, bounded in number, forgotten when they end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Backoff, Child, DynamicSupervisor, Ignore, Restart, Stop, Supervisor
from supervisor.errors import ChildExists, ConfigError, NotRunning, StartFailed, TooManyChildren
from supervisor.testing import Slow, crash, settle
from supervisor.tree.events import ChildExited, ChildRestarting, ChildStarted, SupervisorGaveUp
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Diarist, Gated, Puppet, Rig, failure, generations, states, task_names

if TYPE_CHECKING:
    from collections.abc import Callable


class Declining(Actor[object]):
    """Does not want to run."""

    async def setup(self) -> None:
        raise Ignore


class Starter(Puppet):
    """Starts a sibling in its own setup."""

    def __init__(self, dynamic: DynamicSupervisor) -> None:
        super().__init__()
        self.dynamic = dynamic

    async def setup(self) -> None:
        await self.dynamic.start_child(Child("sibling", Puppet))


async def pool(**options: int) -> tuple[Rig, DynamicSupervisor]:
    """Start a tree with an empty dynamic supervisor."""
    dynamic = DynamicSupervisor("pool", **options)  # type: ignore[arg-type]
    rig = Rig(Supervisor("root", [dynamic]))
    await rig.tree.start()
    return rig, dynamic


def inside(rig: Rig) -> dict[str, State]:
    """State of each child of the pool."""
    return {name: state for name, state in states(rig.tree).items() if name != "pool"}


async def test_children_start_without_waiting_for_each_other() -> None:
    """A child in a long setup holds no other up, and each start returns when its own child runs."""
    rig, dynamic = await pool()
    gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(dynamic.start_child(Child(name, partial(Gated, gate)))) for name in "ab"]
        await settle()
        ref = await dynamic.start_child(Child("c", Puppet))
        assert ref.path == "root/pool/c"
        assert inside(rig) == {"a": State.STARTING, "b": State.STARTING, "c": State.RUNNING}
        assert not any(task.done() for task in slow)
        gate.set()
    assert [task.result().path for task in slow] == ["root/pool/a", "root/pool/b"]
    await rig.stop()


async def test_children_stop_together() -> None:
    """All children stop at once, each within its own limits, so the stop is as long as the longest."""
    rig, dynamic = await pool()
    for number, limit in enumerate((1.0, 3.0, 2.0, 3.0)):
        await dynamic.start_child(Child(f"c{number}", Slow, stop_timeout=limit))
    rig.mark()
    await rig.stop()
    assert rig.when(ChildExited) == [1, 2, 3, 3, 3, 3]
    assert task_names() == []


@pytest.mark.parametrize("message", [Stop(), ValueError(), asyncio.CancelledError()], ids=["normal", "crash", "cancel"])
async def test_a_child_is_forgotten_when_it_ends(message: BaseException) -> None:
    """A child is temporary: when it ends, well or badly, its place and its name are free, and nobody else notices."""
    rig, dynamic = await pool(max_restarts=1)
    await dynamic.start_child(Child("other", Puppet))
    for _ in range(5):
        ref = await dynamic.start_child(Child("a", Puppet))
        ref.tell_nowait(message)
        await settle()
        assert inside(rig) == {"other": State.RUNNING}
    assert rig.log.of(ChildRestarting) == []
    assert len(rig.log.of(ChildStarted, name="other")) == 1
    await rig.stop()


async def test_a_child_that_says_so_is_restarted() -> None:
    """A child with a restart policy of its own is restarted after its backoff, and counts."""
    rig, dynamic = await pool(max_restarts=2)
    child = Child("a", Puppet, restart=Restart.TRANSIENT, backoff=Backoff(jitter=0))
    other = Child("b", Puppet)
    for each in (child, other):
        await dynamic.start_child(each)
    rig.mark()
    crash(child.ref, ValueError())
    await rig.clock.advance(1)
    assert rig.when(ChildStarted) == [0.1]
    assert generations(rig.tree) == {"pool": 1, "a": 2, "b": 1}
    for _ in range(2):
        crash(child.ref, ValueError())
        await rig.clock.advance(1)
    assert [event.path for event in rig.log.of(SupervisorGaveUp)] == ["root/pool"]
    assert states(rig.tree) == {"pool": State.RUNNING}
    await rig.stop()


async def test_a_start_that_fails_leaves_nothing_behind() -> None:
    """A failed start raises StartFailed with the cause, and the child can be started again."""
    rig, dynamic = await pool(max_children=1)
    child = Child("a", partial(BadStarts, [OSError("first"), OSError("second")]))
    for text in ("first", "second"):
        error = await failure(dynamic.start_child(child))
        assert isinstance(error, StartFailed)
        assert str(error) == f"root/pool/a failed to start: OSError: {text}"
        assert isinstance(error.__cause__, OSError)
        assert inside(rig) == {}
    await dynamic.start_child(child)
    assert inside(rig) == {"a": State.RUNNING}
    await rig.stop()


async def test_a_child_that_declines_is_forgotten() -> None:
    """A temporary child that raises Ignore in its setup takes up no place."""
    rig, dynamic = await pool(max_children=1)
    for _ in range(3):
        await dynamic.start_child(Child("a", Declining))
        await settle()
        assert inside(rig) == {}
    await rig.stop()


async def test_there_is_room_for_so_many() -> None:
    """At `max_children`, those still starting included, a start fails at once; an end makes room again."""
    rig, dynamic = await pool(max_children=2)
    gate = asyncio.Event()
    ref = await dynamic.start_child(Child("a", Puppet))
    async with asyncio.TaskGroup() as group:
        group.create_task(dynamic.start_child(Child("b", partial(Gated, gate))))
        await settle()
        with pytest.raises(TooManyChildren, match="holds 2 children already, its max_children"):
            await dynamic.start_child(Child("c", Puppet))
        gate.set()
    ref.tell_nowait(Stop())
    await settle()
    await dynamic.start_child(Child("c", Puppet))
    assert inside(rig) == {"b": State.RUNNING, "c": State.RUNNING}
    await rig.stop()


@pytest.mark.parametrize(
    ("child", "error"),
    [
        pytest.param(lambda used: Child("a", Puppet), ChildExists, id="name in use"),
        pytest.param(lambda used: used, ChildExists, id="the same child"),
        pytest.param(lambda used: Child("b", Puppet, significant=True), ConfigError, id="significant"),
        pytest.param(
            lambda used: Child("b", Puppet, restart=Restart.PERMANENT, backoff=Backoff(first=60, cap=60)),
            ConfigError,
            id="could never give up",
        ),
    ],
)
async def test_a_child_that_cannot_be_is_refused(
    child: Callable[[Child[object]], Child[object]], error: type[Exception]
) -> None:
    """A child of a name in use, or one that the supervisor cannot keep, is refused, and nothing changes."""
    rig, dynamic = await pool()
    used = Child("a", Puppet)
    await dynamic.start_child(used)
    assert isinstance(await failure(dynamic.start_child(child(used))), error)
    assert inside(rig) == {"a": State.RUNNING}
    await rig.stop()


async def test_only_a_running_supervisor_starts_children() -> None:
    """Before its start, during its stop and after it, a dynamic supervisor says that it is not running."""
    dynamic = DynamicSupervisor("pool")
    rig = Rig(Supervisor("root", [dynamic]))
    child = Child("a", Puppet)
    assert isinstance(await failure(dynamic.start_child(child)), NotRunning)
    await rig.tree.start()
    await dynamic.start_child(Child("slow", Slow))
    rig.tree.stop()
    await settle()
    assert isinstance(await failure(dynamic.start_child(child)), NotRunning)
    await rig.ended()
    assert isinstance(await failure(dynamic.start_child(child)), NotRunning)
    assert rig.log.of(ChildStarted, name="a") == []


@pytest.mark.parametrize(("by", "expected"), [("command", StartFailed), ("tree", (StartFailed, NotRunning))])
async def test_a_start_that_is_cut_short_is_no_success(by: str, expected: type[Exception]) -> None:
    """Whoever starts a child that is stopped in its setup is told that it does not run."""
    rig, dynamic = await pool()
    diary: list[str] = []
    async with asyncio.TaskGroup() as group:
        start = group.create_task(failure(dynamic.start_child(Child("a", partial(Gated, asyncio.Event(), diary)))))
        await settle()
        assert diary == ["enter a"]
        if by == "command":
            await dynamic.stop_child("a")
            assert inside(rig) == {}
        else:
            await rig.stop()
    assert isinstance(start.result(), expected)
    await rig.stop()


async def test_a_child_may_start_a_sibling_in_its_setup() -> None:
    """A dynamic supervisor waits for nobody's setup, so a child can use it there."""
    rig, dynamic = await pool()
    await dynamic.start_child(Child("a", partial(Starter, dynamic)))
    assert inside(rig) == {"a": State.RUNNING, "sibling": State.RUNNING}
    await rig.stop()


async def test_children_are_stopped_by_command() -> None:
    """A temporary child stopped by command is torn down and forgotten, and its name is free."""
    rig, dynamic = await pool()
    diary: list[str] = []
    for _ in range(2):
        await dynamic.start_child(Child("a", partial(Diarist, diary)))
        await dynamic.stop_child("a")
        assert inside(rig) == {}
    assert diary == ["setup a", "teardown a"] * 2
    await rig.stop()


async def test_many_children_come_and_go() -> None:
    """A thousand children start, end or crash in any order, and leave neither task nor place nor timer."""
    rig, dynamic = await pool()
    refs = [await dynamic.start_child(Child(f"c{number}", Puppet)) for number in range(1000)]
    assert len(inside(rig)) == 1000
    for number, ref in enumerate(refs):
        ref.tell_nowait(Stop() if number % 2 else ValueError(number))
    await settle()
    assert inside(rig) == {}
    assert task_names() == ["root", "root/pool"]
    assert rig.clock.pending == 0
    await rig.stop()
