"""How a child that hangs in its work is noticed, and restarted if it is to be."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from supervisor import Actor, Child, OnStall, Restart, Strategy, Supervisor
from supervisor.errors import GaveUp
from supervisor.testing import settle
from supervisor.tree.events import ChildExited, ChildRestarting, ChildStalled, ChildStarted, StopStage
from supervisor.tree.mailbox import resolve
from supervisor.tree.outcome import Crashed, Shutdown, Stage
from supervisor.tree.slot import State
from tests.tree.actors import Gated, Puppet, Rig, generations, states


class Hanging(Actor[object]):
    """Hangs in every message until the gate opens."""

    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate

    async def handle(self, message: object) -> None:
        await self.gate.wait()


class Steady(Actor[object]):
    """Works in one of the ways that count as progress, or as idleness."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def run(self) -> None:
        if self.how == "sleep":
            while not self.stopping:
                await self.sleep(25)
        elif self.how == "long sleep":
            await self.sleep(1000)
        elif self.how == "every":
            async for _ in self.every(100):
                pass
        elif self.how == "inbox":
            await super().run()
        elif self.how == "inbox loop":
            async for _ in self.inbox:
                pass
        else:
            while not self.stopping:
                await self._pause(25)
                self.progress()

    async def _pause(self, seconds: float) -> None:
        """Wait in a way that the runtime knows nothing of."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.clock.call_later(seconds, partial(resolve, waiter))
        await waiter


def hanging(gate: asyncio.Event, **options: object) -> Child[object]:
    """Make a child that stalls after 30 s in a message."""
    return Child("a", partial(Hanging, gate), stall_after=30, **options)  # type: ignore[arg-type]


async def test_a_long_message_is_reported_once_a_minute() -> None:
    """An actor busy for longer than `stall_after` is reported then, and once a minute while it lasts."""
    gate = asyncio.Event()
    child = hanging(gate)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    await rig.clock.advance(100)
    rig.mark()
    child.ref.tell_nowait("work")
    await rig.clock.advance(29.9)
    assert rig.log.of(ChildStalled) == []
    await rig.clock.advance(170)
    assert [round(event.seconds) for event in rig.log.of(ChildStalled)] == [30, 90, 150]
    assert "await self.gate.wait()" in rig.log.of(ChildStalled)[0].stack
    assert generations(rig.tree) == {"a": 1}
    gate.set()
    await rig.clock.advance(300)
    assert len(rig.log.of(ChildStalled)) == 3
    await rig.stop()


async def test_each_message_counts_from_its_own_start() -> None:
    """Many messages that are each short enough are no stall, however long they take together."""
    gate = asyncio.Event()
    child = hanging(gate)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    for number in range(8):
        child.ref.tell_nowait(number)
    for _ in range(8):
        await rig.clock.advance(25)
        gate.set()
        await asyncio.sleep(0)
        gate.clear()
        await settle()
    assert rig.log.of(ChildStalled) == []
    await rig.stop()


@pytest.mark.parametrize("how", ["sleep", "long sleep", "every", "inbox", "inbox loop", "progress"])
async def test_waiting_and_progress_are_no_stall(how: str) -> None:
    """An actor that waits for messages, ticks or time, or that reports progress, never stalls."""
    rig = Rig(Supervisor("root", [Child("a", partial(Steady, how), stall_after=30)]))
    await rig.tree.start()
    await rig.clock.advance(500)
    assert rig.log.of(ChildStalled) == []
    await rig.stop()


async def test_silent_work_of_ones_own_is_a_stall() -> None:
    """An actor that waits for something the runtime does not know, without progress, has stalled."""
    rig = Rig(Supervisor("root", [Child("a", partial(Steady, "silent"), stall_after=20)]))
    await rig.tree.start()
    await rig.clock.advance(24)
    assert [event.path for event in rig.log.of(ChildStalled)] == ["root/a"]
    await rig.stop()


async def test_no_limit_no_report() -> None:
    """Without `stall_after` nothing is ever reported, and no timer runs for it."""
    child = Child("a", partial(Hanging, asyncio.Event()))
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    child.ref.tell_nowait("work")
    await rig.clock.advance(10_000)
    assert rig.log.of(ChildStalled) == []
    assert rig.clock.pending == 0
    await rig.stop()


async def test_a_long_setup_is_no_stall() -> None:
    """The setup has its own limit, and its time does not count as busy."""
    gate = asyncio.Event()
    rig = Rig(Supervisor("root", [Child("a", partial(Gated, gate), start_timeout=100, stall_after=30)]))
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.tree.start())
        await rig.clock.advance(90)
        gate.set()
    await rig.clock.advance(90)
    assert rig.log.of(ChildStalled) == []
    await rig.stop()


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
async def test_a_stalled_child_is_stopped_and_restarted(restart: Restart) -> None:
    """With `OnStall.RESTART` the child goes through the stages of a stop, and then is restarted like a failure."""
    gate = asyncio.Event()
    child = hanging(gate, on_stall=OnStall.RESTART, restart=restart)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    rig.mark()
    child.ref.tell_nowait("work")
    await rig.clock.advance(36)
    assert rig.when(ChildStalled) == [30]
    assert [event.stage for event in rig.log.of(StopStage, name="a")] == [Stage.DRAINING, Stage.CANCELLING]
    assert rig.log.of(ChildExited, name="a")[0].outcome == Shutdown(Stage.CANCELLING)
    assert [event.restarts for event in rig.log.of(ChildRestarting)] == [1]
    assert len(rig.log.of(ChildStarted, name="a")) == 1
    await rig.clock.advance(300)
    assert generations(rig.tree) == {"a": 2}
    assert [letter.message for letter in rig.runtime.dead_letters.last] == ["work"]
    await rig.stop()


async def test_a_stalled_temporary_child_is_stopped_and_forgotten() -> None:
    """A temporary child that stalls is stopped, not restarted."""
    child = hanging(asyncio.Event(), on_stall=OnStall.RESTART, restart=Restart.TEMPORARY)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    child.ref.tell_nowait("work")
    await rig.clock.advance(60)
    assert states(rig.tree) == {}
    await rig.stop()


async def test_a_stall_takes_its_group_along() -> None:
    """The strategy applies to a stall as to a crash."""
    child = hanging(asyncio.Event(), on_stall=OnStall.RESTART)
    rig = Rig(Supervisor("root", [Child("first", Puppet), child, Child("last", Puppet)], Strategy.REST_FOR_ONE))
    await rig.tree.start()
    child.ref.tell_nowait("work")
    await rig.clock.advance(60)
    assert generations(rig.tree) == {"first": 1, "a": 2, "last": 2}
    await rig.stop()


async def test_stalls_count_against_the_intensity() -> None:
    """A child that stalls again and again makes its supervisor give up."""
    child = hanging(asyncio.Event(), on_stall=OnStall.RESTART, stop_timeout=0)
    rig = Rig(Supervisor("root", [child], max_restarts=2, within=600))
    await rig.tree.start()
    for number in range(3):
        child.ref.tell_nowait(number)
    await rig.ended(200)
    assert isinstance(rig.tree.outcome, Crashed)
    assert isinstance(rig.tree.outcome.error, GaveUp)
    assert len(rig.log.of(ChildStalled)) == 3


async def test_a_stall_that_ends_in_time_is_stopped_politely() -> None:
    """A stalled child that comes back during its drain ends there, and is restarted all the same."""
    gate = asyncio.Event()
    child = hanging(gate, on_stall=OnStall.RESTART)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    child.ref.tell_nowait("work")
    await rig.clock.advance(31)
    assert states(rig.tree) == {"a": State.STOPPING}
    gate.set()
    await rig.clock.advance(1)
    assert rig.log.of(ChildExited, name="a")[0].outcome == Shutdown(Stage.DRAINING)
    assert generations(rig.tree) == {"a": 2}
    assert list(rig.runtime.dead_letters.last) == []
    await rig.stop()


async def test_a_crash_during_the_stop_of_a_stall_is_one_failure() -> None:
    """A stalled child that crashes while it is being stopped is counted and restarted once."""
    gate = asyncio.Event()
    child = hanging(gate, on_stall=OnStall.RESTART)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    child.ref.tell_nowait("work")
    await rig.clock.advance(31)
    task = next(task for task in asyncio.all_tasks() if task.get_name() == "root/a")
    task.cancel()
    await rig.clock.advance(100)
    assert [event.restarts for event in rig.log.of(ChildRestarting)] == [1]
    assert generations(rig.tree) == {"a": 2}
    await rig.stop()
