"""How a supervisor ends because its significant children have ended by themselves."""

from __future__ import annotations

from functools import partial

import pytest

from supervisor import AutoShutdown, Child, Restart, Stop, Strategy, Supervisor
from supervisor.testing import crash, settle
from supervisor.tree.events import ChildExited, ChildRestarting
from supervisor.tree.outcome import Normal
from supervisor.tree.slot import State
from tests.tree.actors import Diarist, Puppet, Rig, generations, states, task_names

ANY, ALL = AutoShutdown.ANY, AutoShutdown.ALL
TRANSIENT, TEMPORARY = Restart.TRANSIENT, Restart.TEMPORARY


async def started(
    auto: AutoShutdown, restart: Restart, strategy: Strategy = Strategy.ONE_FOR_ONE
) -> tuple[Rig, dict[str, Child[object]], list[str]]:
    """Start a tree of two significant children and an ordinary one."""
    diary: list[str] = []
    children = {
        "plain": Child("plain", partial(Diarist, diary)),
        "a": Child("a", partial(Diarist, diary), significant=True, restart=restart),
        "b": Child("b", partial(Diarist, diary), significant=True, restart=restart),
    }
    rig = Rig(Supervisor("root", list(children.values()), strategy, auto_shutdown=auto))
    await rig.tree.start()
    diary.clear()
    return rig, children, diary


@pytest.mark.parametrize("restart", [TRANSIENT, TEMPORARY])
@pytest.mark.parametrize(("auto", "ends"), [(ANY, ["a"]), (ALL, ["a", "b"]), (ALL, ["b", "a"])])
async def test_the_supervisor_ends_with_its_significant_children(
    auto: AutoShutdown, ends: list[str], restart: Restart
) -> None:
    """It ends normally, the rest stopped in reverse, after any or after the last significant child."""
    rig, children, diary = await started(auto, restart)
    for name in ends:
        assert rig.tree.outcome is None
        children[name].ref.tell_nowait(Stop())
        await settle()
    assert rig.tree.outcome == Normal()
    rest = [f"teardown {name}" for name in ("b", "a", "plain") if name not in ends]
    assert diary == [*(f"teardown {name}" for name in ends), *rest]
    assert (task_names(), rig.clock.pending) == ([], 0)


@pytest.mark.parametrize("auto", [ANY, ALL])
async def test_a_transient_crash_is_no_end(auto: AutoShutdown) -> None:
    """A significant transient child that crashes is restarted; it has not ended."""
    rig, children, _ = await started(auto, TRANSIENT)
    for name in "ab":
        crash(children[name].ref, ValueError())
    await rig.clock.advance(1)
    assert rig.tree.outcome is None
    assert generations(rig.tree) == {"plain": 1, "a": 2, "b": 2}
    await rig.stop()


async def test_a_temporary_crash_is_an_end() -> None:
    """A significant temporary child ends by crashing, too."""
    rig, children, _ = await started(ALL, TEMPORARY)
    crash(children["a"].ref, ValueError())
    await settle()
    assert rig.tree.outcome is None
    crash(children["b"].ref, ValueError())
    await settle()
    assert rig.tree.outcome == Normal()


async def test_an_ordinary_child_ends_nothing() -> None:
    """The end of a child that is not significant leaves its supervisor running."""
    plain = Child("plain", Puppet, restart=TEMPORARY)
    rig = Rig(Supervisor("root", [plain, Child("a", Puppet, significant=True, restart=TRANSIENT)], auto_shutdown=ANY))
    await rig.tree.start()
    plain.ref.tell_nowait(Stop())
    await settle()
    assert rig.tree.outcome is None
    assert states(rig.tree) == {"a": State.RUNNING}
    await rig.stop()


@pytest.mark.parametrize("restart", [TRANSIENT, TEMPORARY])
@pytest.mark.parametrize("auto", [ANY, ALL])
async def test_a_stop_by_command_is_no_end(auto: AutoShutdown, restart: Restart) -> None:
    """Stopping a significant child by command does not end the supervisor, as in OTP."""
    rig, _, _ = await started(auto, restart)
    for name in "ab":
        await rig.tree.root.stop_child(name)
    assert rig.tree.outcome is None
    await rig.stop()


async def test_a_sibling_restart_that_removes_a_significant_child_is_no_end() -> None:
    """A temporary significant child that a sibling's failure removes has not ended by itself."""
    rig, children, _ = await started(ANY, TEMPORARY, Strategy.ONE_FOR_ALL)
    crash(children["plain"].ref, ValueError())
    await rig.clock.advance(1)
    assert rig.tree.outcome is None
    assert states(rig.tree) == {"plain": State.RUNNING}
    await rig.stop()


async def test_a_child_in_backoff_is_alive() -> None:
    """With ALL, a significant child that waits to be restarted keeps its supervisor up."""
    rig, children, _ = await started(ALL, TRANSIENT)
    crash(children["a"].ref, ValueError())
    await settle()
    assert states(rig.tree)["a"] is State.BACKOFF
    children["b"].ref.tell_nowait(Stop())
    await rig.clock.advance(1)
    assert rig.tree.outcome is None
    assert states(rig.tree)["a"] is State.RUNNING
    children["a"].ref.tell_nowait(Stop())
    await settle()
    assert rig.tree.outcome == Normal()


async def test_a_crash_beside_a_normal_end_is_not_overlooked() -> None:
    """With ALL, a child that crashed at the same moment as the other ended is restarted, and the supervisor stays."""
    rig, children, _ = await started(ALL, TRANSIENT)
    children["b"].ref.tell_nowait(Stop())
    crash(children["a"].ref, ValueError())
    await rig.clock.advance(1)
    assert [event.path for event in rig.log.of(ChildRestarting)] == ["root/a"]
    assert rig.tree.outcome is None
    await rig.stop()


@pytest.mark.parametrize(
    ("restart", "state", "generation"),
    [(Restart.PERMANENT, State.RUNNING, 2), (TRANSIENT, State.STOPPED, 1), (TEMPORARY, None, None)],
)
async def test_a_nested_supervisor_that_shuts_down_has_ended_normally(
    restart: Restart, state: State | None, generation: int | None
) -> None:
    """To its parent an automatic shutdown is a normal end, so the supervisor's own policy decides."""
    task = Child("task", Puppet, significant=True, restart=TEMPORARY)
    nested = Supervisor("nested", [Child("plain", Puppet), task], auto_shutdown=ANY, restart=restart)
    rig = Rig(Supervisor("root", [nested]))
    await rig.tree.start()
    task.ref.tell_nowait(Stop())
    await rig.clock.advance(1)
    assert [event.outcome for event in rig.log.of(ChildExited, name="nested")] == [Normal()]
    assert states(rig.tree).get("nested") is state
    assert generations(rig.tree).get("nested") == generation
    await rig.stop()


async def test_a_significant_supervisor_ends_its_parent() -> None:
    """A supervisor can itself be significant, so that one end goes up level by level."""
    task = Child("task", Puppet, significant=True, restart=TEMPORARY)
    nested = Supervisor("nested", [task], auto_shutdown=ANY, significant=True, restart=TRANSIENT)
    rig = Rig(Supervisor("root", [nested, Child("plain", Puppet)], auto_shutdown=ALL))
    await rig.tree.start()
    task.ref.tell_nowait(Stop())
    await settle()
    assert rig.tree.outcome == Normal()
