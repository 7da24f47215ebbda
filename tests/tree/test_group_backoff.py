"""Commands to a group of children of which one has failed, and which waits for that one's backoff."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import AutoShutdown, Backoff, Child, Restart, Stop, Strategy, Supervisor
from supervisor.errors import GaveUp, StartFailed
from supervisor.testing import Slow, crash, settle
from supervisor.tree.events import ChildStarted
from supervisor.tree.outcome import Crashed, Normal
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Puppet, Rig, failure, states

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Work = Coroutine[object, object, None]

EXACT = Backoff(jitter=0)
GROUPS = [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]


async def waiting_group(strategy: Strategy) -> tuple[Rig, Supervisor]:
    """Start three children, of which the first has just crashed."""
    first = Child("a", Puppet, backoff=EXACT)
    root = Supervisor("root", [first, *(Child(name, Puppet, backoff=EXACT) for name in "bc")], strategy)
    rig = Rig(root)
    await rig.tree.start()
    crash(first.ref, ValueError())
    await settle()
    assert set(states(rig.tree).values()) == {State.BACKOFF}
    rig.mark()
    return rig, root


async def stop_and_remove(root: Supervisor, name: str) -> None:
    """Take a child out."""
    await root.stop_child(name)
    await root.remove_child(name)


async def stop_and_restart(root: Supervisor, name: str) -> None:
    """Stop a child and start it again."""
    await root.stop_child(name)
    await root.restart_child(name)


@pytest.mark.parametrize("strategy", GROUPS)
@pytest.mark.parametrize(
    ("command", "state"),
    [
        (Supervisor.restart_child, State.RUNNING),
        (Supervisor.stop_child, State.STOPPED),
        (stop_and_restart, State.RUNNING),
        (stop_and_remove, None),
    ],
)
@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_a_command_during_a_group_backoff_strands_nobody(
    strategy: Strategy, command: Callable[[Supervisor, str], Work], state: State | None, name: str
) -> None:
    """Whichever of a waiting group is stopped, started or removed, all the others do come back, in order."""
    rig, root = await waiting_group(strategy)
    await command(root, name)
    await rig.clock.advance(10)
    expected = {other: state if other == name else State.RUNNING for other in "abc"}
    assert states(rig.tree) == {other: found for other, found in expected.items() if found is not None}
    last = {event.path[-1]: number for number, event in enumerate(rig.log.of(ChildStarted))}
    assert sorted(last, key=last.__getitem__) == sorted(last)
    await rig.stop()
    assert rig.clock.pending == 0


@pytest.mark.parametrize("strategy", GROUPS)
@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_a_waiting_child_can_be_started_after_its_leader_is_gone(strategy: Strategy, name: str) -> None:
    """With the child removed for which a group waited, each of the others still obeys."""
    rig, root = await waiting_group(strategy)
    await stop_and_remove(root, "a")
    error = await failure(root.restart_child(name))
    assert (error is None) is (name != "a")
    await rig.clock.advance(10)
    assert states(rig.tree) == {"b": State.RUNNING, "c": State.RUNNING}
    await rig.stop()


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_supervisor_gives_up_in_the_middle_of_a_command(strategy: Strategy) -> None:
    """When the restart of a group by command is one failure too many, the supervisor gives up as always."""
    errors: list[Exception] = []
    first, second = Child("a", Puppet), Child("b", partial(BadStarts, errors))
    root = Supervisor("root", [first, second], strategy, max_restarts=1)
    rig = Rig(root)
    await rig.tree.start()
    crash(first.ref, ValueError())
    await settle()
    errors.append(OSError("no"))
    error = await failure(root.restart_child("a"))
    await rig.clock.advance(10)
    outcome = rig.tree.outcome
    await rig.stop()
    assert error is not None
    assert isinstance(outcome, Crashed)
    assert isinstance(outcome.error, GaveUp)


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_group_restart_by_command_that_fails_is_tried_again(strategy: Strategy) -> None:
    """When another of the group fails its setup, the caller is told if its own child is down, and all come back."""
    errors: list[Exception] = []
    first, second = Child("a", Puppet), Child("b", partial(BadStarts, errors))
    root = Supervisor("root", [first, second, Child("c", Puppet)], strategy)
    rig = Rig(root)
    await rig.tree.start()
    crash(first.ref, ValueError())
    await settle()
    errors.append(OSError("no"))
    error = await failure(root.restart_child("c"))
    assert isinstance(error, StartFailed)
    assert states(rig.tree)["c"] is State.BACKOFF
    await rig.clock.advance(10)
    assert set(states(rig.tree).values()) == {State.RUNNING}
    await rig.stop()


async def test_an_end_that_a_group_restart_overtook_does_not_count_for_ever() -> None:
    """A significant child whose crash was overtaken by a restart keeps nobody up once it is stopped for good."""
    children = {name: Child(name, Puppet, significant=True, restart=Restart.TRANSIENT, backoff=EXACT) for name in "ab"}
    last = Child("slow", Slow, stop_timeout=1)
    root = Supervisor(
        "root", [*children.values(), last], Strategy.ONE_FOR_ALL, auto_shutdown=AutoShutdown.ALL, max_restarts=5
    )
    rig = Rig(root)
    await rig.tree.start()
    crash(children["a"].ref, ValueError())
    await rig.clock.advance(0.5)  # the group is being stopped, and its backoff is over
    crash(children["b"].ref, ValueError())
    await rig.clock.advance(5)
    assert set(states(rig.tree).values()) == {State.RUNNING}
    async with asyncio.TaskGroup() as group:
        group.create_task(root.stop_child("b"))
        await rig.clock.advance(1)
    children["a"].ref.tell_nowait(Stop())
    await settle()
    await rig.clock.advance(2)
    outcome = rig.tree.outcome
    await rig.stop()
    assert outcome == Normal()
