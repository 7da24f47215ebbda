"""Who is restarted, when, and in which order; what becomes of the messages meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest

from supervisor import Backoff, Child, Reply, Restart, Stop, Strategy, Supervisor
from supervisor.errors import ActorCrashed
from supervisor.testing import Slow, crash, settle
from supervisor.tree.events import ChildRestarting, ChildStarted, DeadLetterReason
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Diarist, Puppet, Rig, failure, generations, states

EXACT = Backoff(jitter=0)


def trio(
    diary: list[str], strategy: Strategy, *, second: Restart = Restart.PERMANENT
) -> tuple[Rig, list[Child[object]]]:
    """Make a tree of three children, whose diary begins after their start."""
    policies = {"b": second}
    children = [Child(name, partial(Diarist, diary), restart=policies.get(name), backoff=EXACT) for name in "abc"]
    return Rig(Supervisor("root", children, strategy)), children


@pytest.mark.parametrize(
    ("strategy", "failing", "written"),
    [
        (Strategy.ONE_FOR_ONE, 1, "teardown b, setup b"),
        (Strategy.ONE_FOR_ALL, 0, "teardown a, teardown c, teardown b, setup a, setup b, setup c"),
        (Strategy.ONE_FOR_ALL, 1, "teardown b, teardown c, teardown a, setup a, setup b, setup c"),
        (Strategy.ONE_FOR_ALL, 2, "teardown c, teardown b, teardown a, setup a, setup b, setup c"),
        (Strategy.REST_FOR_ONE, 0, "teardown a, teardown c, teardown b, setup a, setup b, setup c"),
        (Strategy.REST_FOR_ONE, 1, "teardown b, teardown c, setup b, setup c"),
        (Strategy.REST_FOR_ONE, 2, "teardown c, setup c"),
    ],
)
async def test_a_strategy_stops_in_reverse_and_starts_in_order(strategy: Strategy, failing: int, written: str) -> None:
    """The siblings whom the strategy names stop in reverse order, and all start in order after the backoff."""
    diary: list[str] = []
    rig, children = trio(diary, strategy)
    await rig.tree.start()
    diary.clear()
    rig.mark()
    crash(children[failing].ref, ValueError())
    await rig.clock.advance(1)
    assert ", ".join(diary) == written
    assert set(states(rig.tree).values()) == {State.RUNNING}
    assert rig.when(ChildStarted) == [0.1] * written.count("setup")
    await rig.stop()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_temporary_sibling_is_removed(strategy: Strategy) -> None:
    """A temporary child that a sibling's restart takes down is stopped and forgotten, not restarted."""
    diary: list[str] = []
    rig, children = trio(diary, strategy, second=Restart.TEMPORARY)
    await rig.tree.start()
    diary.clear()
    crash(children[0].ref, ValueError())
    await rig.clock.advance(1)
    assert states(rig.tree) == {"a": State.RUNNING, "c": State.RUNNING}
    assert diary == ["teardown a", "teardown c", "teardown b", "setup a", "setup c"]
    await rig.stop()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_group_restart_counts_once(strategy: Strategy) -> None:
    """One failure is one restart, however many siblings it touches."""
    rig, children = trio([], strategy)
    await rig.tree.start()
    crash(children[0].ref, ValueError())
    await rig.clock.advance(1)
    assert [(event.path, event.restarts) for event in rig.log.of(ChildRestarting)] == [("root/a", 1)]
    await rig.stop()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_siblings_that_ended_normally_start_again_with_the_group(strategy: Strategy) -> None:
    """A transient child that had ended well is started when a sibling's failure restarts its group."""
    rig, children = trio([], strategy, second=Restart.TRANSIENT)
    await rig.tree.start()
    children[1].ref.tell_nowait(Stop())
    await settle()
    assert states(rig.tree)["b"] is State.STOPPED
    crash(children[0].ref, ValueError())
    await rig.clock.advance(1)
    assert generations(rig.tree) == {"a": 2, "b": 2, "c": 2}
    await rig.stop()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_member_that_fails_to_restart_is_tried_again_with_its_group(strategy: Strategy) -> None:
    """When one of the group fails its setup, its own group waits for its backoff and then starts in order."""
    diary: list[str] = []
    errors: list[Exception] = []
    failing = Child("b", partial(BadStarts, errors), backoff=EXACT)
    others = [Child(name, partial(Diarist, diary), backoff=EXACT) for name in "ac"]
    rig = Rig(Supervisor("root", [others[0], failing, others[1]], strategy))
    await rig.tree.start()
    diary.clear()
    errors.append(OSError())
    crash(others[0].ref, ValueError())
    await rig.clock.advance(0.11)
    waits = State.BACKOFF if strategy is Strategy.ONE_FOR_ALL else State.RUNNING
    assert states(rig.tree) == {"a": waits, "b": State.BACKOFF, "c": State.BACKOFF}
    await rig.clock.advance(0.1)
    assert set(states(rig.tree).values()) == {State.RUNNING}
    assert [event.restarts for event in rig.log.of(ChildRestarting)] == [1, 2]
    again = ["teardown a", "setup a"] if strategy is Strategy.ONE_FOR_ALL else []
    assert diary == ["teardown a", "teardown c", "setup a", *again, "setup c"]
    await rig.stop()


async def test_a_group_restart_takes_over_a_pending_backoff() -> None:
    """A sibling in its own backoff waits for its group's restart instead, and starts once."""
    rig, children = trio([], Strategy.REST_FOR_ONE)
    await rig.tree.start()
    for _ in range(3):
        crash(children[2].ref, ValueError())
        await rig.clock.advance(1)
    crash(children[2].ref, ValueError())
    await settle()
    assert rig.log.of(ChildRestarting)[-1].delay == pytest.approx(0.8)
    rig.mark()
    crash(children[0].ref, ValueError())
    await rig.clock.advance(10)
    assert rig.when(ChildStarted) == [0.1, 0.1, 0.1]
    assert [event.path for event in rig.log.of(ChildStarted)] == ["root/a", "root/b", "root/c"]
    await rig.stop()


async def test_a_backoff_that_ends_during_a_group_stop_does_not_jump_the_queue() -> None:
    """A sibling whose backoff runs out while its group is being stopped still starts after those before it."""
    first, second = (Child(name, Puppet, backoff=EXACT) for name in "ab")
    rig = Rig(Supervisor("root", [first, second, Child("c", Slow)], Strategy.REST_FOR_ONE, within=600))
    await rig.tree.start()
    crash(second.ref, ValueError())
    await settle()
    await rig.clock.advance(0.05)  # c takes 5 s to stop, and b is due in another 0.05 s
    crash(first.ref, ValueError())
    await rig.clock.advance(60)
    started = [event.path for event in rig.log.of(ChildStarted)]
    last = len(started) - 1 - started[::-1].index("root/a")
    assert started[last:] == ["root/a", "root/b", "root/c"]
    await rig.stop()


@dataclass(frozen=True)
class Poison:
    """A request over which the actor crashes."""

    reply: Reply[None]


class Drinker(Puppet):
    async def handle(self, message: object) -> None:
        if type(message) is Poison:
            raise ValueError("poisoned")
        await super().handle(message)


async def test_messages_wait_for_the_next_incarnation() -> None:
    """What was queued at a crash, or came during the backoff, is handled in order after the restart."""
    seen: list[object] = []
    child = Child("a", partial(Puppet, seen))
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    for message in (1, ValueError(), 2, 3):
        child.ref.tell_nowait(message)
    await settle()
    assert seen == [1]
    child.ref.tell_nowait(4)
    await rig.clock.advance(1)
    assert seen == [1, 2, 3, 4]
    await rig.stop()


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_messages_outlive_the_restart_of_a_sibling(strategy: Strategy) -> None:
    """A child that a sibling's failure restarts keeps the messages it has not read."""
    seen: list[object] = []
    failing, other = Child("a", Puppet), Child("b", partial(Puppet, seen))
    rig = Rig(Supervisor("root", [failing, other], strategy))
    await rig.tree.start()
    crash(failing.ref, ValueError())
    await settle()
    other.ref.tell_nowait("kept")
    assert seen == []
    await rig.clock.advance(1)
    assert seen == ["kept"]
    await rig.stop()


async def test_a_poisoned_message_is_not_delivered_again() -> None:
    """The message of the crash becomes a dead letter, its asker gets ActorCrashed, and the next one is served."""
    child = Child("a", Drinker)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    error = await failure(child.ref.ask(Poison))
    assert isinstance(error, ActorCrashed)
    assert isinstance(error.__cause__, ValueError)
    await rig.clock.advance(5)
    assert generations(rig.tree) == {"a": 2}
    assert [type(letter.message) for letter in rig.runtime.dead_letters.last] == [Poison]
    assert rig.runtime.dead_letters.counts == {DeadLetterReason.CRASHED: 1}
    await rig.stop()
