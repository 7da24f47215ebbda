"""The tree as data: every node, its state and its past, at one moment."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Child, DynamicSupervisor, Ignore, Restart, Stop, Strategy, Supervisor
from supervisor.testing import Slow, crash, settle
from supervisor.tree.slot import State
from tests.tree.actors import Gated, Puppet, Rig, Undying

if TYPE_CHECKING:
    from supervisor.tree.snapshot import NodeSnapshot


class Declining(Puppet):
    async def setup(self) -> None:
        raise Ignore


def find(rig: Rig, name: str, *, stacks: bool = False) -> NodeSnapshot:
    """Return the snapshot of one node."""
    return next(node for node in rig.tree.snapshot(stacks=stacks).walk() if node.name == name)


async def test_the_snapshot_has_every_node_in_start_order() -> None:
    """It mirrors the tree: each node with its path, kind and policy, parents before children."""
    dynamic = DynamicSupervisor("pool")
    nested = Supervisor("nested", [Child("b", Slow, restart=Restart.TRANSIENT), dynamic], Strategy.REST_FOR_ONE)
    rig = Rig(Supervisor("root", [Child("a", Puppet), nested, Child("c", lambda: Puppet())]))  # noqa: PLW0108
    await rig.tree.start()
    await dynamic.start_child(Child("job", Puppet))
    nodes = [(node.path, node.kind, node.restart) for node in rig.tree.snapshot().walk()]
    assert nodes == [
        ("root", "one_for_one", "permanent"),
        ("root/a", "Puppet", "permanent"),
        ("root/nested", "rest_for_one", "permanent"),
        ("root/nested/b", "Slow", "transient"),
        ("root/nested/pool", "dynamic", "permanent"),
        ("root/nested/pool/job", "Puppet", "temporary"),
        ("root/c", "Puppet", "permanent"),
    ]
    assert [child.name for child in rig.tree.snapshot().children] == ["a", "nested", "c"]
    await rig.stop()


async def test_the_snapshot_is_plain_data() -> None:
    """It is frozen, holds nothing but values, and does not change when the tree does."""
    child = Child("a", Puppet)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    before = rig.tree.snapshot(stacks=True)
    copy = dataclasses.asdict(before)
    crash(child.ref, ValueError())
    await rig.clock.advance(1)
    assert dataclasses.asdict(before) == copy
    assert rig.tree.snapshot() != before
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.generation = 7  # type: ignore[misc]
    await rig.stop()


async def test_the_past_of_a_child_is_told() -> None:
    """Generation, restarts, age and last outcome say what happened to a child."""
    child = Child("a", Puppet)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    await rig.clock.advance(7)
    fresh = find(rig, "a")
    assert (fresh.generation, fresh.restarts, fresh.age, fresh.last_outcome) == (1, 0, 7, None)
    crash(child.ref, ValueError("broken\npipe"))
    await settle()
    waiting = find(rig, "a")
    assert (waiting.state, waiting.generation, waiting.restarts, waiting.age) == (State.BACKOFF, 1, 1, None)
    assert waiting.last_outcome == "crashed: ValueError: broken"
    await rig.clock.advance(1)
    again = find(rig, "a")
    assert (again.state, again.generation, again.restarts) == (State.RUNNING, 2, 1)
    assert again.age is not None
    assert 0.8 <= again.age <= 1
    assert again.last_outcome == "crashed: ValueError: broken"
    await rig.stop()


async def test_work_and_mail_are_told() -> None:
    """The depth of the mailbox, whether the actor is busy, and the age of its progress are visible."""
    gate = asyncio.Event()

    class Worker(Actor[object]):
        async def handle(self, message: object) -> None:
            await gate.wait()

    child = Child("a", Worker, capacity=7)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    await rig.clock.advance(5)
    idle = find(rig, "a")
    assert (idle.busy, idle.mailbox, idle.capacity, idle.last_progress) == (False, 0, 7, 5)
    for number in range(3):
        child.ref.tell_nowait(number)
    await rig.clock.advance(2)
    busy = find(rig, "a", stacks=True)
    assert (busy.busy, busy.mailbox, busy.last_progress) == (True, 2, 2)
    assert busy.stack is not None
    assert "await gate.wait()" in busy.stack
    assert find(rig, "a").stack is None
    gate.set()
    await settle()
    assert find(rig, "a").busy is False
    root = find(rig, "root")
    assert (root.busy, root.last_progress) == (False, None)
    await rig.stop()


async def test_each_state_has_its_name() -> None:
    """A child is declared, starting, running, in backoff, stopping, stopped, failed or abandoned."""
    gate, end = asyncio.Event(), asyncio.Event()
    undying = Child("zombie", partial(Undying, end), replaceable=True, stop_timeout=0, cancel_grace=0)
    children = [
        Child("declined", Declining),
        Child("failing", Puppet),
        Child("ended", Puppet, restart=Restart.TRANSIENT),
        undying,
        Child("slow", Slow),
        Child("starting", partial(Gated, gate)),
        Child("later", Puppet),
    ]
    root = Supervisor("root", children)
    rig = Rig(root)
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.tree.start())
        await settle()
        assert (find(rig, "starting").state, find(rig, "later").state) == (State.STARTING, State.DECLARED)
        assert find(rig, "root").state is State.STARTING
        gate.set()
    crash(children[1].ref, ValueError())
    children[2].ref.tell_nowait(Stop())
    await settle()
    async with asyncio.TaskGroup() as group:
        group.create_task(root.stop_child("zombie"))
        await rig.clock.advance(0.3)
        group.create_task(root.stop_child("slow"))
        await settle()
        slow = find(rig, "slow")
        assert (slow.state, slow.stage) == (State.STOPPING, "draining")
        await rig.clock.advance(6)
    await root.stop_child("declined")
    found = {node.name: node.state for node in rig.tree.snapshot().children}
    assert found == {
        "declined": State.STOPPED,
        "failing": State.RUNNING,
        "ended": State.STOPPED,
        "zombie": State.ABANDONED,
        "slow": State.STOPPED,
        "starting": State.RUNNING,
        "later": State.RUNNING,
    }
    assert find(rig, "zombie").last_outcome == "abandoned"
    assert find(rig, "slow").last_outcome == "stopped while cancelling"
    assert find(rig, "ended").last_outcome == "normal"
    end.set()
    await rig.stop()


@pytest.mark.parametrize(
    ("fails", "state", "text"),
    [(False, State.STOPPED, "stopped while draining"), (True, State.FAILED, "crashed: GaveUp: ")],
)
async def test_a_tree_that_has_ended_still_has_a_snapshot(fails: bool, state: State, text: str) -> None:
    """After the end the root tells how it ended, and nothing is below it."""
    child = Child("a", Puppet)
    rig = Rig(Supervisor("root", [child], max_restarts=1))
    assert (find(rig, "root").state, find(rig, "root").generation) == (State.DECLARED, 0)
    await rig.tree.start()
    for _ in range(2 * fails):
        crash(child.ref, ValueError())
        await rig.clock.advance(1)
    await rig.stop()
    (root,) = rig.tree.snapshot(stacks=True).walk()
    assert root.state is state
    assert root.last_outcome is not None
    assert root.last_outcome.startswith(text)
    assert (root.age, root.stack, root.children) == (None, None, ())
