"""How one absolute deadline cuts every limit of a shutdown, whatever was under way when it came."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Child, Supervisor
from supervisor.testing import Shielded, Slow, Stubborn, crash, settle
from supervisor.tree.events import ChildExited
from tests.tree.actors import Diarist, Gated, Puppet, Rig, Undying, outlived, task_names

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("factory", "last"),
    [(Puppet, 0), (Slow, 1), (Shielded, 3), (Stubborn, 3)],
    ids=["polite", "slow", "shielded", "stubborn"],
)
@pytest.mark.parametrize("when", ["before the stop", "during the drain", "during the cancel"])
async def test_a_deadline_cuts_the_stop_short(factory: Callable[[], Actor[object]], last: float, when: str) -> None:
    """However late the deadline is brought forward, everything has ended or is abandoned by then, in order."""
    made: list[Actor[object]] = []

    def make() -> Actor[object]:
        made.append(factory())
        return made[-1]

    inner = Supervisor("inner", [Child(name, make) for name in "ab"])
    rig = Rig(Supervisor("root", [inner, Child("c", make), Child("d", make)]))
    await rig.tree.start()
    rig.mark()
    if when != "before the stop":
        rig.tree.stop()
    passed = 6 if when == "during the cancel" else 0
    await rig.clock.advance(passed)
    rig.runtime.deadline.tighten(rig.clock.now() + 1, rig.clock.now() + 3)
    await rig.stop(4)
    assert max(rig.when(ChildExited)) == (passed + last if last else 0)
    order = [event.path for event in rig.log.of(ChildExited)]
    assert order == ["root/d", "root/c", "root/inner/b", "root/inner/a", "root/inner", "root"]
    assert sorted(life.path for life in rig.runtime.abandoned) == task_names()
    assert len(task_names()) == (4 if factory is Stubborn else 0)
    for actor in made:
        if isinstance(actor, Stubborn):
            actor.release()
    assert await outlived("root") == []
    assert rig.clock.pending == 0


async def test_a_deadline_never_moves_back() -> None:
    """A later deadline does not undo an earlier one."""
    rig = Rig(Supervisor("root", [Child("a", Slow)]))
    await rig.tree.start()
    rig.mark()
    now = rig.clock.now()
    rig.runtime.deadline.tighten(now + 1, now + 3)
    rig.runtime.deadline.tighten(now + 4, now + 9)
    await rig.stop()
    assert rig.when(ChildExited, name="a") == [1]


async def test_a_deadline_leaves_no_child_behind_in_a_start() -> None:
    """A stop under a deadline, while the tree still starts, also stops the children that had started."""
    diary: list[str] = []
    first, slow = Child("a", partial(Diarist, diary)), Child("b", Slow)
    nested = Supervisor("nested", [first, slow, Child("c", partial(Gated, asyncio.Event()))])
    rig = Rig(Supervisor("root", [nested]))
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.tree.start())
        await settle()
        rig.mark()
        rig.runtime.deadline.tighten(rig.clock.now() + 1, rig.clock.now() + 3)
        await rig.stop()
    assert diary == ["setup a", "teardown a"]
    assert rig.when(ChildExited, path="root") == [1]
    assert task_names() == []


async def test_a_teardown_under_way_heeds_the_deadline() -> None:
    """A teardown that began before the shutdown is cut at its end like everything else."""
    end = asyncio.Event()
    child = Child("a", lambda: Undying(end, "teardown"), teardown_timeout=60)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    crash(child.ref, ValueError())
    await settle()
    rig.mark()
    rig.runtime.deadline.tighten(rig.clock.now() + 1, rig.clock.now() + 3)
    await rig.stop()
    end.set()
    assert rig.when(ChildExited, name="a") == [3]
    assert await outlived("root") == []
