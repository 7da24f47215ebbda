"""How the end of an actor is classified, and what its restart policy makes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Child, Restart, Stop, Supervisor
from supervisor.errors import UnexpectedCancel
from supervisor.testing import FakeClock, Slow, running, settle
from supervisor.tree.events import ChildExited, ChildStarted
from supervisor.tree.incarnation import Incarnation
from supervisor.tree.outcome import Crashed, Normal, Shutdown, Stage
from supervisor.tree.runtime import Runtime
from supervisor.tree.slot import State
from tests.tree.actors import Puppet, Rig, generations, states, task_names, task_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Grouped(Actor[object]):
    """Fails inside a task group of its own."""

    async def handle(self, message: object) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fail())
            group.create_task(asyncio.Event().wait())

    async def _fail(self) -> None:
        raise OSError("inside")


class Fleeting(Actor[object]):
    """Fails in `run` before its first await."""

    async def run(self) -> None:
        raise ValueError("at once")


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        pytest.param(lambda rig, child: child.ref.tell_nowait(Stop("done")), Normal, id="Stop"),
        pytest.param(lambda rig, child: child.ref.tell_nowait(ValueError()), Crashed, id="error"),
        pytest.param(lambda rig, child: child.ref.tell_nowait(MemoryError()), Crashed, id="severe"),
        pytest.param(lambda rig, child: child.ref.tell_nowait(asyncio.CancelledError()), Crashed, id="cancel"),
        pytest.param(lambda rig, child: child.ref.tell_nowait(BaseException()), Crashed, id="base exception"),
        pytest.param(lambda rig, child: task_of(child).cancel(), Crashed, id="cancel by a stranger"),
    ],
)
@pytest.mark.parametrize(
    ("restart", "after"),
    [
        (Restart.PERMANENT, {Normal: State.RUNNING, Crashed: State.RUNNING}),
        (Restart.TRANSIENT, {Normal: State.STOPPED, Crashed: State.RUNNING}),
        (Restart.TEMPORARY, {Normal: None, Crashed: None}),
    ],
)
async def test_the_policy_and_the_outcome_decide(
    end: Callable[[Rig, Child[object]], object],
    outcome: type[Normal | Crashed],
    restart: Restart,
    after: dict[type[object], State | None],
) -> None:
    """Permanent restarts always, transient after a crash, temporary never and is forgotten."""
    child = Child("a", Puppet, restart=restart)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    end(rig, child)
    await rig.clock.advance(1)
    assert isinstance(rig.log.of(ChildExited, name="a")[0].outcome, outcome)
    assert states(rig.tree).get("a") is after[outcome]
    assert len(rig.log.of(ChildStarted, name="a")) == 1 + (after[outcome] is State.RUNNING)
    await rig.stop()


async def test_a_foreign_cancel_is_named_as_such() -> None:
    """A cancel that the supervisor did not ask for is a crash with UnexpectedCancel."""
    child = Child("a", Slow)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    task_of(child).cancel()
    await settle()
    exited = rig.log.of(ChildExited, name="a")[0].outcome
    assert isinstance(exited, Crashed)
    assert isinstance(exited.error, UnexpectedCancel)
    await rig.stop()


async def test_a_supervisor_that_a_stranger_cancels_takes_its_children_along() -> None:
    """When the task of a supervisor is cancelled from outside, its children are stopped, and it is restarted."""
    nested = Supervisor("nested", [Child("b", Slow, stop_timeout=1)])
    rig = Rig(Supervisor("root", [Child("a", Puppet), nested]))
    await rig.tree.start()
    next(task for task in asyncio.all_tasks() if task.get_name() == "root/nested").cancel()
    await rig.clock.advance(5)
    assert [event.path for event in rig.log.of(ChildExited)] == ["root/nested/b", "root/nested"]
    assert generations(rig.tree) == {"a": 1, "nested": 2, "b": 1}
    assert task_names() == ["root", "root/a", "root/nested", "root/nested/b"]
    await rig.stop()


async def test_an_error_in_the_actors_own_task_group_is_kept_whole() -> None:
    """The group that an actor's task group raises is its crash, and no sibling notices."""
    child = Child("a", Grouped)
    rig = Rig(Supervisor("root", [child, Child("b", Puppet)]))
    await rig.tree.start()
    child.ref.tell_nowait("go")
    await rig.clock.advance(1)
    exited = rig.log.of(ChildExited, name="a")[0].outcome
    assert isinstance(exited, Crashed)
    assert isinstance(exited.error, ExceptionGroup)
    assert generations(rig.tree) == {"a": 2, "b": 1}
    await rig.stop()


async def test_a_run_that_fails_at_once_was_started() -> None:
    """A child that fails after its setup, however soon, is restarted, and its tree does start."""
    child = Child("a", Fleeting, restart=Restart.TEMPORARY)
    async with running(Supervisor("root", [child, Child("b", Puppet)])) as tree:
        await settle()
        assert states(tree) == {"b": State.RUNNING}


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        pytest.param(lambda life: life.task.cancel(), Crashed, id="foreign cancel"),
        pytest.param(lambda life: life.stop(), Shutdown, id="stop"),
        pytest.param(lambda life: life.stop(Stage.KILLING), Shutdown, id="kill"),
    ],
)
async def test_a_task_that_ends_before_its_first_step_has_an_outcome(
    act: Callable[[Incarnation], object], outcome: type[object]
) -> None:
    """An incarnation whose task never ran its body is reported like any other."""
    told: list[Incarnation] = []

    class Owner:
        def ended(self, incarnation: Incarnation) -> None:
            told.append(incarnation)

        def stalled(self, incarnation: Incarnation) -> None:
            raise AssertionError

    life = Incarnation(Child("a", Puppet), "root/a", 1, Runtime(clock=FakeClock()), Owner())
    act(life)
    await life.over()
    assert isinstance(life.outcome, outcome)
    assert told == [life]
