"""How long a failed child waits, when its past is forgiven, and how many restarts a supervisor tolerates."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

import pytest

from supervisor import Backoff, Child, Restart, Supervisor
from supervisor.testing import crash, settle
from supervisor.tree.events import ChildRestarting, ChildStarted, SupervisorGaveUp
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Gated, Puppet, Rig, states

EXACT = Backoff(jitter=0)


def delays(rig: Rig) -> list[float]:
    """List the delays of all restarts so far."""
    return [round(event.delay, 6) for event in rig.log.of(ChildRestarting)]


async def test_delays_double_up_to_the_cap() -> None:
    """The delay doubles with each failure in a row until it reaches its cap, and is kept to exactly."""
    child = Child("a", Puppet, backoff=EXACT)
    rig = Rig(Supervisor("root", [child], max_restarts=8, within=60))
    await rig.tree.start()
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    for delay in expected:
        crash(child.ref, ValueError())
        await rig.clock.advance(delay - 0.01)
        assert states(rig.tree) == {"a": State.BACKOFF}
        await rig.clock.advance(0.02)
        assert states(rig.tree) == {"a": State.RUNNING}
    assert delays(rig) == expected
    await rig.stop()


async def test_failed_starts_lengthen_the_delay_too() -> None:
    """A setup that fails during a restart doubles the delay like a crash."""
    errors: list[Exception] = []
    child = Child("a", partial(BadStarts, errors), backoff=EXACT)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    errors += [OSError(), OSError()]
    rig.mark()
    crash(child.ref, ValueError())
    await rig.clock.advance(5)
    assert delays(rig) == [0.1, 0.2, 0.4]
    assert rig.when(ChildStarted) == [0.7]
    await rig.stop()


async def test_jitter_spreads_the_delays() -> None:
    """Delays differ by at most the jitter, and do differ."""
    children = [Child(f"c{number}", Puppet, backoff=Backoff(first=1, jitter=0.2)) for number in range(50)]
    rig = Rig(Supervisor("root", children, max_restarts=50, within=10_000))
    await rig.tree.start()
    for child in children:
        crash(child.ref, ValueError())
    await settle()
    found = delays(rig)
    assert all(0.8 <= delay <= 1.2 for delay in found)
    assert min(found) < 0.9
    assert max(found) > 1.1
    await rig.stop()


@pytest.mark.parametrize(("lived", "delay"), [(29.75, 0.25), (30.0, 0.125)])
async def test_a_healthy_life_starts_the_backoff_over(lived: float, delay: float) -> None:
    """A child that ran for `healthy_after` seconds waits the first delay again, one that ran less does not."""
    child = Child("a", Puppet, backoff=Backoff(first=0.125, jitter=0))
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    crash(child.ref, ValueError())
    await rig.clock.advance(0.125)
    assert states(rig.tree) == {"a": State.RUNNING}
    await rig.clock.advance(lived)
    crash(child.ref, ValueError())
    await settle()
    assert delays(rig) == [0.125, delay]
    await rig.stop()


async def test_time_in_setup_is_not_health() -> None:
    """A child that spends long in its setup and then fails at once is not taken for healthy."""
    gate = asyncio.Event()
    gate.set()
    child = Child("a", partial(Gated, gate), backoff=EXACT, start_timeout=100)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    for _ in range(2):
        gate.clear()
        crash(child.ref, ValueError())
        await rig.clock.advance(40)
        assert states(rig.tree) == {"a": State.STARTING}
        gate.set()
        await settle()
    crash(child.ref, ValueError())
    await settle()
    assert delays(rig) == [0.1, 0.2, 0.4]
    await rig.stop()


async def test_time_after_death_is_not_health() -> None:
    """A child that died young is not taken for healthy because its supervisor was busy until it was old."""
    gate = asyncio.Event()
    child = Child("a", Puppet, backoff=EXACT)
    root = Supervisor("root", [child])
    rig = Rig(root)
    await rig.tree.start()
    crash(child.ref, ValueError())
    await rig.clock.advance(25)
    async with asyncio.TaskGroup() as group:
        group.create_task(root.add_child(Child("b", partial(Gated, gate))))
        await settle()
        crash(child.ref, ValueError())
        await rig.clock.advance(9)
        gate.set()
    await settle()
    assert delays(rig) == [0.1, 0.2]
    await rig.stop()


async def test_each_child_has_its_own_backoff() -> None:
    """One child's failures do not lengthen another's delay."""
    children = [Child(name, Puppet, backoff=EXACT) for name in "ab"]
    rig = Rig(Supervisor("root", children))
    await rig.tree.start()
    for child in (children[0], children[0], children[1]):
        crash(child.ref, ValueError())
        await rig.clock.advance(1)
    assert delays(rig) == [0.1, 0.2, 0.1]
    await rig.stop()


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
@pytest.mark.parametrize(("pause", "gives_up"), [(9.9, True), (10.0, True), (10.25, False)])
async def test_the_window_slides(restart: Restart, pause: float, gives_up: bool) -> None:
    """A restart exactly `within` seconds old still counts, as in OTP, and an older one does not."""
    child = Child("a", Puppet, restart=restart, backoff=Backoff(first=0))
    rig = Rig(Supervisor("root", [child], max_restarts=2, within=20))
    await rig.tree.start()
    for _ in range(6):
        if rig.tree.outcome is None:
            crash(child.ref, ValueError())
            await settle()
            await rig.clock.advance(pause)
    assert bool(rig.log.of(SupervisorGaveUp)) is gives_up
    assert len(rig.log.of(ChildRestarting)) == (2 if gives_up else 6)
    await rig.stop()


async def test_restarts_of_all_children_count_together() -> None:
    """The window belongs to the supervisor: three children with one failure each are three restarts."""
    children = [Child(name, Puppet) for name in "abc"]
    rig = Rig(Supervisor("root", children, max_restarts=2))
    await rig.tree.start()
    for child in children:
        crash(child.ref, ValueError())
    await settle()
    assert [event.restarts for event in rig.log.of(ChildRestarting)] == [1, 2]
    assert [event.child for event in rig.log.of(SupervisorGaveUp)] == ["c"]
    await rig.stop()


@pytest.mark.parametrize("failures", [1, 10, 10_000, 10**9])
@pytest.mark.parametrize(
    ("first", "factor", "cap"), [(0, 2, 5), (0.1, 1, 5), (0.1, 2, 5), (1, 1e6, 0), (5, 1.0001, 60)]
)
def test_delays_never_shrink_nor_pass_the_cap(failures: int, first: float, factor: float, cap: float) -> None:
    """Whatever the settings and however many failures, a delay is between the one before and the cap."""
    backoff = Backoff(first=first, factor=factor, cap=cap)
    found = [backoff.delay(number) for number in (failures, failures + 1)]
    assert all(low <= high <= cap for low, high in itertools.pairwise([0.0, *found]))
