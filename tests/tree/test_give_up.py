"""When a supervisor has restarted enough: it stops its children and fails, and its own supervisor decides."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Backoff, Child, Restart, Strategy, Supervisor
from supervisor.errors import GaveUp, StartFailed
from supervisor.testing import FakeClock, crash, running, settle
from supervisor.tree.events import ChildExited, ChildRestarting, ChildStarted, DeadLetter, SupervisorGaveUp
from supervisor.tree.outcome import Crashed
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Diarist, Puppet, Rig, generations, states, task_names

if TYPE_CHECKING:
    from collections.abc import Callable

EXACT = Backoff(jitter=0)


class Doomed(Actor[object]):
    """Crashes as soon as it runs."""

    async def run(self) -> None:
        raise ValueError("as always")


class BadRestarts(BadStarts):
    """Crashes in its first life, and never gets through its setup again."""

    async def setup(self) -> None:
        if self._life.generation > 1:
            raise OSError("not again")

    async def run(self) -> None:
        raise ValueError("the first time")


def broken_child(name: str = "bad") -> Child[object]:
    """Make a child that crashes whenever it runs."""
    return Child(name, Doomed, backoff=EXACT)


def given_up(rig: Rig) -> GaveUp:
    """Return the error with which the tree gave up."""
    assert isinstance(rig.tree.outcome, Crashed)
    assert isinstance(rig.tree.outcome.error, GaveUp)
    return rig.tree.outcome.error


@pytest.mark.parametrize(
    ("factory", "cause"), [(Doomed, ValueError), (lambda: BadRestarts([]), OSError)], ids=["crashes", "bad starts"]
)
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_crash_storm_ends_after_five_restarts(
    factory: Callable[[], Actor[object]], cause: type[Exception], strategy: Strategy
) -> None:
    """A child that always fails is restarted five times in 3.1 s, then the supervisor gives up with its error."""
    rig = Rig(Supervisor("root", [Child("bad", factory, backoff=EXACT), Child("good", Puppet)], strategy))
    await rig.tree.start()
    await rig.ended()
    error = given_up(rig)
    assert isinstance(error.__cause__, cause)
    assert len(rig.log.of(ChildExited, name="bad")) == 6
    assert [(event.child, event.max_restarts, event.within) for event in rig.log.of(SupervisorGaveUp)] == [
        ("bad", 5, 60)
    ]
    assert rig.when(SupervisorGaveUp) == [3.1]
    assert (task_names(), rig.clock.pending) == ([], 0)


async def test_giving_up_stops_the_others_in_reverse_order() -> None:
    """The children that still run are stopped, last first, and the failed one is not started again."""
    diary: list[str] = []
    good = [Child(name, partial(Diarist, diary)) for name in "abc"]
    bad = Child("bad", Puppet)
    rig = Rig(Supervisor("root", [good[0], bad, *good[1:]], max_restarts=1))
    await rig.tree.start()
    crash(bad.ref, ValueError())
    await rig.clock.advance(1)
    diary.clear()
    crash(bad.ref, ValueError())
    await rig.ended()
    assert diary == ["teardown c", "teardown b", "teardown a"]
    assert len(rig.log.of(ChildStarted, name="bad")) == 2


async def test_the_kit_raises_what_the_tree_gave_up_with() -> None:
    """`running` ends with the error of a tree that gave up meanwhile."""
    clock = FakeClock()
    with pytest.raises(GaveUp, match="bad failed"):
        async with running(Supervisor("root", [broken_child()]), clock=clock):
            await clock.advance(10)


@pytest.mark.parametrize(
    ("restart", "after"),
    [(Restart.PERMANENT, State.RUNNING), (Restart.TRANSIENT, State.RUNNING), (Restart.TEMPORARY, None)],
)
async def test_a_supervisor_that_gave_up_is_restarted_like_a_crash(restart: Restart, after: State | None) -> None:
    """Giving up is abnormal: the parent restarts a permanent and also a transient supervisor."""
    child = Child("c", Puppet)
    nested = Supervisor("nested", [child, Child("d", Puppet)], max_restarts=1, restart=restart)
    rig = Rig(Supervisor("root", [nested]))
    await rig.tree.start()
    for _ in range(2):
        crash(child.ref, ValueError())
        await rig.clock.advance(1)
    assert states(rig.tree).get("nested") is after
    if after is not None:
        assert generations(rig.tree) == {"nested": 2, "c": 1, "d": 1}
    assert rig.tree.outcome is None
    await rig.stop()


async def test_a_restarted_supervisor_begins_with_an_empty_window() -> None:
    """After its restart a supervisor tolerates its full number of restarts again."""
    child = Child("c", Puppet)
    rig = Rig(Supervisor("root", [Supervisor("nested", [child], max_restarts=2)]))
    await rig.tree.start()
    for _ in range(3 + 2):
        crash(child.ref, ValueError())
        await rig.clock.advance(1)
    assert generations(rig.tree) == {"nested": 2, "c": 3}
    assert [event.restarts for event in rig.log.of(ChildRestarting, name="c")] == [1, 2, 1, 2]
    await rig.stop()


@pytest.mark.parametrize(("depth", "limit"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1)])
async def test_failure_escalates_level_by_level(depth: int, limit: int) -> None:
    """Each level uses up its own restarts before the next one above counts one."""
    node: Supervisor = Supervisor("level0", [broken_child()], max_restarts=limit, backoff=EXACT)
    for level in range(1, depth):
        node = Supervisor(f"level{level}", [node], max_restarts=limit, within=600, backoff=EXACT)
    rig = Rig(Supervisor("root", [node], max_restarts=limit, within=6000))
    await rig.tree.start()
    await rig.ended(1000)
    assert len(rig.log.of(ChildStarted, name="bad")) == (limit + 1) ** (depth + 1)
    assert len(rig.log.of(SupervisorGaveUp)) == sum((limit + 1) ** level for level in range(depth + 1))
    error: BaseException | None = given_up(rig)
    chain = []
    while error is not None:
        chain.append(type(error))
        error = error.__cause__
    assert chain == [GaveUp] * (depth + 1) + [ValueError]


async def test_a_nested_restart_that_fails_counts_for_the_parent() -> None:
    """When a supervisor's own restart fails over a child's setup, its parent counts that and tries again."""
    errors: list[Exception] = []
    child = Child("c", partial(BadStarts, errors), backoff=EXACT)
    nested = Supervisor("nested", [child], max_restarts=1, backoff=EXACT)
    rig = Rig(Supervisor("root", [nested]))
    await rig.tree.start()
    errors += [OSError("restart"), OSError("nested, first try")]
    crash(child.ref, ValueError())
    await rig.clock.advance(10)
    restarts = rig.log.of(ChildRestarting, name="nested")
    assert [event.restarts for event in restarts] == [1, 2]
    exits = [event.outcome for event in rig.log.of(ChildExited, name="nested")]
    assert [type(outcome.error) for outcome in exits if isinstance(outcome, Crashed)] == [GaveUp, StartFailed]
    assert states(rig.tree) == {"nested": State.RUNNING, "c": State.RUNNING}
    await rig.stop()


async def test_a_child_takes_messages_after_the_restart_of_its_supervisor() -> None:
    """The address of a child stays valid when its supervisor has given up and was restarted."""
    seen: list[object] = []
    bad, good = Child("bad", Puppet), Child("good", partial(Puppet, seen))
    rig = Rig(Supervisor("root", [Supervisor("nested", [bad, good], max_restarts=1)]))
    await rig.tree.start()
    for _ in range(2):
        crash(bad.ref, ValueError())
        await rig.clock.advance(1)
    assert generations(rig.tree)["nested"] == 2
    await good.ref.tell("after")
    await settle()
    assert seen == ["after"]
    await rig.stop()


async def test_a_supervisor_buries_no_messages_of_its_own() -> None:
    """What a supervisor tells itself about its children never shows up among the dead letters."""
    rig = Rig(Supervisor("root", [Supervisor("nested", [broken_child()])], max_restarts=1))
    await rig.tree.start()
    await rig.ended()
    assert rig.log.of(DeadLetter) == []
