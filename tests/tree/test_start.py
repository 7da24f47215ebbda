"""How children start: in order, awaited, within their limit, and what a failed start leads to."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Child, Ignore, Stop, Strategy, Supervisor
from supervisor.errors import ConfigError, MailboxClosed, StartFailed, StartTimeout, UnexpectedCancel
from supervisor.testing import crash, running, settle
from supervisor.tree.events import ChildExited, ChildRestarting, ChildStarted, StopStage
from supervisor.tree.outcome import Crashed, Ignored, Shutdown, Stage
from supervisor.tree.slot import State
from tests.tree.actors import (
    BadStarts,
    Diarist,
    Gated,
    Puppet,
    Rig,
    Undying,
    during,
    failure,
    generations,
    states,
    task_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Raising(Actor[object]):
    """Raises in its setup."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def setup(self) -> None:
        raise self.error


async def test_children_start_in_order_each_after_the_setup_of_the_one_before() -> None:
    """The next child is not even made before the setup of the previous one has returned."""
    diary: list[str] = []
    gate = asyncio.Event()
    first, last = Child("a", partial(Gated, gate, diary)), Child("c", partial(Diarist, diary))
    rig = Rig(Supervisor("root", [first, Child("b", partial(Gated, gate, diary)), last]))

    async def open_gate() -> None:
        assert diary == ["enter a"]
        assert states(rig.tree) == {"a": State.STARTING, "b": State.DECLARED, "c": State.DECLARED}
        gate.set()

    await during(rig.tree.start(), open_gate)
    assert diary == ["enter a", "setup a", "enter b", "setup b", "setup c"]
    assert [event.path for event in rig.log.of(ChildStarted)] == ["root/a", "root/b", "root/c", "root"]
    await rig.stop()


async def test_start_returns_when_the_grandchildren_run() -> None:
    """A tree counts as started only when everything in it runs."""
    gate = asyncio.Event()
    nested = Supervisor("inner", [Child("deep", partial(Gated, gate))])
    rig = Rig(Supervisor("root", [Supervisor("outer", [nested])]))

    async def open_gate() -> None:
        gate.set()

    await during(rig.tree.start(), open_gate)
    assert states(rig.tree) == dict.fromkeys(["outer", "inner", "deep"], State.RUNNING)
    await rig.stop()


@pytest.mark.parametrize("limit", [10.0, 0.5])
async def test_a_setup_beyond_its_limit_is_a_failed_start(limit: float) -> None:
    """A setup longer than `start_timeout` is cut short exactly then, and is a failed start."""
    rig = Rig(Supervisor("root", [Child("a", partial(Gated, asyncio.Event()), start_timeout=limit)]))
    async with asyncio.TaskGroup() as group:
        start = group.create_task(failure(rig.tree.start()))
        await rig.clock.advance(limit - 0.01)
        assert states(rig.tree) == {"a": State.STARTING}
        await rig.clock.advance(0.01)
    error = start.result()
    assert isinstance(error, StartFailed)
    assert isinstance(error.__cause__, StartTimeout)
    assert f"root/a failed to start: StartTimeout: root/a: setup took longer than {limit:g} s" in str(error)
    assert rig.when(ChildExited, name="a") == [limit]


async def test_a_setup_that_outlives_its_stop_is_a_failed_start() -> None:
    """A child abandoned in its setup has not started, and the tree does not pretend that it has."""
    end = asyncio.Event()
    rig = Rig(Supervisor("root", [Child("a", lambda: Undying(end, "setup")), Child("b", Puppet)]))
    async with asyncio.TaskGroup() as group:
        start = group.create_task(failure(rig.tree.start()))
        await rig.clock.advance(10 + 2 + 0.2)
        outcome = rig.tree.outcome
        end.set()
        if outcome is None:
            await rig.stop()
    assert isinstance(outcome, Crashed), "the tree runs without its child"
    assert isinstance(start.result(), StartFailed)


def not_an_actor() -> Actor[object]:
    """Make something that no supervisor can run."""
    return 7  # type: ignore[return-value]


def bad_factory() -> Actor[object]:
    """Fail where an actor should be made."""
    raise KeyError("no such setting")


@pytest.mark.parametrize(
    ("factory", "cause"),
    [
        pytest.param(lambda: Raising(OSError("port in use")), OSError, id="setup raises"),
        pytest.param(lambda: Raising(ExceptionGroup("two", [OSError()])), ExceptionGroup, id="setup raises a group"),
        pytest.param(lambda: Raising(asyncio.CancelledError()), UnexpectedCancel, id="setup is cancelled"),
        pytest.param(lambda: Raising(Stop()), Exception, id="setup raises Stop"),
        pytest.param(bad_factory, KeyError, id="factory raises"),
        pytest.param(not_an_actor, TypeError, id="factory makes no actor"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_a_first_start_that_fails_takes_the_started_down(
    factory: Callable[[], Actor[object]], cause: type[BaseException], depth: int
) -> None:
    """After a failed first start the started children stop in reverse order and StartFailed has the cause."""
    diary: list[str] = []
    failing: Supervisor | Child[object] = Child("bad", factory)
    for level in range(depth):
        failing = Supervisor(f"level{level}", [failing])
    good = [Child(name, partial(Diarist, diary)) for name in "ab"]
    rig = Rig(Supervisor("root", [*good, failing, Child("never", partial(Diarist, diary))]))
    with pytest.raises(StartFailed, match="bad failed to start") as caught:
        await rig.tree.start()
    assert diary == ["setup a", "setup b", "teardown b", "teardown a"]
    chain: list[BaseException] = [caught.value]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    assert isinstance(chain[-1], cause)
    assert all(isinstance(error, StartFailed) for error in chain[:-1])
    assert (task_names(), rig.clock.pending) == ([], 0)


async def test_children_of_a_failed_start_are_free_for_another_tree() -> None:
    """A child can be used again after a start that failed, even one that failed over a child used twice."""
    errors: list[Exception] = [OSError()]
    children = [Child("a", Puppet), Child("b", partial(BadStarts, errors))]
    with pytest.raises(StartFailed):
        await Rig(Supervisor("root", children)).tree.start()
    busy = Child("busy", Puppet)
    async with running(busy):
        with pytest.raises(StartFailed) as caught:
            await Rig(Supervisor("second", [*children, busy])).tree.start()
        assert isinstance(caught.value.__cause__, ConfigError)
        async with running(Supervisor("third", children)) as tree:
            assert states(tree) == {"a": State.RUNNING, "b": State.RUNNING}


async def test_a_failed_restart_counts_as_one_more_restart() -> None:
    """A setup that fails during a restart counts against the intensity, and is tried again."""
    errors: list[Exception] = []
    child = Child("a", partial(BadStarts, errors))
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    errors += [OSError("first"), OSError("second")]
    crash(child.ref, ValueError())
    await rig.clock.advance(10)
    assert [event.restarts for event in rig.log.of(ChildRestarting, name="a")] == [1, 2, 3]
    assert states(rig.tree) == {"a": State.RUNNING}
    assert generations(rig.tree) == {"a": 4}
    await rig.stop()


async def test_a_supervisor_whose_child_keeps_failing_to_restart_still_obeys() -> None:
    """Between failed restarts a supervisor takes commands and can be stopped at once."""
    errors: list[Exception] = []
    child = Child("a", partial(BadStarts, errors))
    root = Supervisor("root", [child])
    rig = Rig(root)
    await rig.tree.start()
    errors += [OSError() for _ in range(4)]
    crash(child.ref, ValueError())
    await rig.clock.advance(1)
    await root.add_child(Child("b", Puppet))
    assert states(rig.tree) == {"a": State.BACKOFF, "b": State.RUNNING}
    rig.mark()
    assert await rig.stop() == Shutdown(Stage.DRAINING)
    assert rig.when(ChildExited, path="root") == [0]


async def test_a_child_may_decline_to_run() -> None:
    """A child whose setup raises Ignore stays declared, takes no messages, and holds nobody up."""
    child = Child("off", lambda: Raising(Ignore("switched off")))
    async with running(Supervisor("root", [child, Child("on", Puppet)])) as tree:
        assert states(tree) == {"off": State.DECLARED, "on": State.RUNNING}
        with pytest.raises(MailboxClosed):
            await child.ref.tell("hello")


async def test_a_child_may_decline_its_restart() -> None:
    """A child that raises Ignore when it is restarted is not tried again, and queued messages are buried."""
    errors: list[Exception] = []
    child = Child("a", partial(BadStarts, errors))
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    errors.append(Ignore())
    crash(child.ref, ValueError())
    await settle()
    child.ref.tell_nowait("too late")
    await rig.clock.advance(30)
    assert [event.outcome for event in rig.log.of(ChildExited, name="a")][1:] == [Ignored()]
    assert states(rig.tree) == {"a": State.DECLARED}
    assert [letter.message for letter in rig.runtime.dead_letters.last] == ["too late"]
    await rig.stop()


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("stop_timeout", [5.0, 0.0, math.inf])
async def test_a_stop_ends_a_start_at_once(depth: int, stop_timeout: float) -> None:
    """A stop during somebody's setup cancels that setup without delay, and stops what had started."""
    diary: list[str] = []
    slow: Supervisor | Child[object] = Child("slow", partial(Gated, asyncio.Event(), diary), stop_timeout=stop_timeout)
    for level in range(depth):
        slow = Supervisor(f"level{level}", [Child(f"pal{level}", partial(Diarist, diary)), slow])
    rig = Rig(Supervisor("root", [Child("a", partial(Diarist, diary)), slow, Child("z", partial(Diarist, diary))]))

    async def stop() -> None:
        diary.clear()
        rig.mark()
        await rig.stop()

    await during(rig.tree.start(), stop)
    assert diary == [*(f"teardown pal{level}" for level in range(depth)), "teardown a"]
    assert rig.when(ChildExited, path="root") == [0]
    assert rig.tree.outcome == Shutdown(Stage.DRAINING)
    assert [event.stage for event in rig.log.of(StopStage, name="slow")] == [Stage.CANCELLING]
    assert task_names() == []


async def test_a_stop_ends_a_restart_at_once() -> None:
    """A stop while a child is in the setup of its restart does not wait for that setup."""
    gate = asyncio.Event()
    gate.set()
    child = Child("a", partial(Gated, gate))
    rig = Rig(Supervisor("root", [child, Child("b", Puppet)], Strategy.ONE_FOR_ALL))
    await rig.tree.start()
    gate.clear()
    crash(child.ref, ValueError())
    await rig.clock.advance(1)
    assert states(rig.tree) == {"a": State.STARTING, "b": State.BACKOFF}
    rig.mark()
    await rig.stop()
    assert rig.when(ChildExited, path="root") == [0]
