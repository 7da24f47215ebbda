"""Holds monitors to their promise: whoever watches is told of every end, once, ahead of other messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Never

from supervisor.errors import Stop
from supervisor.testing import EventLog, FakeClock, Stubborn, crash, running, settle
from supervisor.tree.child import Child, Restart
from supervisor.tree.dynamic import DynamicSupervisor
from supervisor.tree.events import DeadLetter
from supervisor.tree.monitor import Down
from supervisor.tree.outcome import Crashed, Normal, Shutdown, Stage
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Do, Puppet

if TYPE_CHECKING:
    from supervisor.tree.refs import ActorRef

ERROR = RuntimeError("why")


class Pair:
    """A watcher, and one to be watched, under one supervisor."""

    def __init__(self, restart: Restart = Restart.PERMANENT) -> None:
        self.heard: list[object] = []
        self.watcher = Child("watcher", lambda: Puppet(self.heard))
        self.watched = Child("watched", Puppet, restart=restart)
        self.supervisor = Supervisor("root", [self.watched, self.watcher])

    async def watch(self, times: int = 1) -> None:
        for _ in range(times):
            await self.watcher.ref.tell(monitor(self.watched.ref))
        await settle()


def monitor(ref: ActorRef[Never]) -> Do:
    """Tell a puppet to watch this actor."""

    async def act(puppet: Puppet) -> None:
        puppet.monitor(ref)

    return Do(act)


async def stop(_: Puppet) -> None:
    """End normally."""
    raise Stop


async def test_a_monitor_tells_of_every_end() -> None:
    """The watcher receives one `Down` for each incarnation that ends, with its outcome."""
    clock, pair = FakeClock(), Pair()
    async with running(pair.supervisor, clock=clock):
        await pair.watch()
        assert pair.heard == []
        crash(pair.watched.ref, ERROR)
        await clock.advance(1)
        await pair.watched.ref.tell(Do(stop))
        await clock.advance(1)
        assert pair.heard == [Down("root/watched", Crashed(ERROR)), Down("root/watched", Normal())]


async def test_a_stop_by_command_is_an_end() -> None:
    """The watcher is told of a stop, and of none that does not happen."""
    pair = Pair()
    async with running(pair.supervisor, clock=FakeClock()):
        await pair.watch()
        await pair.supervisor.stop_child("watched")
        await settle()
        await pair.supervisor.stop_child("watched")
        await settle()
        assert pair.heard == [Down("root/watched", Shutdown(Stage.DRAINING))]


async def test_an_abandonment_is_an_end() -> None:
    """The watcher of an actor that survives its stop is told so when it is given up, and not again when it ends."""
    clock, heard, stubborn = FakeClock(), list[object](), Stubborn()
    watched = Child("watched", lambda: stubborn, replaceable=True)
    supervisor = Supervisor("root", [watched, Child("watcher", lambda: Puppet(heard))])
    async with running(supervisor, clock=clock) as tree, asyncio.TaskGroup() as group:
        watcher = supervisor.children[1]
        watcher.mailbox.put_nowait(monitor(watched.ref))
        await settle()
        group.create_task(supervisor.stop_child("watched"))
        await clock.advance(10)
        assert heard == [Down("root/watched", Shutdown(Stage.ABANDONED))]
        stubborn.release()
        while tree.runtime.abandoned:
            await settle()
        assert len(heard) == 1


async def test_monitoring_twice_is_monitoring_once() -> None:
    """A watcher that asks twice is told once."""
    clock, pair = FakeClock(), Pair()
    async with running(pair.supervisor, clock=clock):
        await pair.watch(times=3)
        crash(pair.watched.ref, ERROR)
        await clock.advance(1)
        assert len(pair.heard) == 1


async def test_down_overtakes_messages() -> None:
    """A `Down` is read ahead of the messages that were queued before it."""
    clock, pair, go = FakeClock(), Pair(), asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async with running(pair.supervisor, clock=clock):
        await pair.watch()
        await pair.watcher.ref.tell(Do(block))
        await settle()
        await pair.watcher.ref.tell("queued")
        crash(pair.watched.ref, ERROR)
        await settle()
        go.set()
        await settle()
        assert pair.heard == [Down("root/watched", Crashed(ERROR)), "queued"]


async def test_a_full_mailbox_keeps_no_down_out() -> None:
    """A `Down` arrives although the watcher's mailbox is full."""
    clock, heard, go = FakeClock(), list[object](), asyncio.Event()
    watched = Child("watched", Puppet)
    watcher = Child("watcher", lambda: Puppet(heard), capacity=1)

    async def block(_: Puppet) -> None:
        await go.wait()

    async with running(Supervisor("root", [watched, watcher]), clock=clock):
        await watcher.ref.tell(monitor(watched.ref))
        await settle()
        await watcher.ref.tell(Do(block))
        await settle()
        await watcher.ref.tell("fills the mailbox")
        crash(watched.ref, ERROR)
        await settle()
        go.set()
        await settle()
    assert heard == [Down("root/watched", Crashed(ERROR)), "fills the mailbox"]


async def test_a_late_monitor_is_told_at_once() -> None:
    """Whoever watches an actor that does not run is told at once how it ended, and of the ends to come."""
    clock, pair = FakeClock(), Pair(Restart.TRANSIENT)
    async with running(pair.supervisor, clock=clock):
        await pair.watched.ref.tell(Do(stop))
        await settle()
        await pair.watch()
        assert pair.heard == [Down("root/watched", Normal())]
        await pair.supervisor.restart_child("watched")
        crash(pair.watched.ref, ERROR)
        await settle()
        assert pair.heard[1:] == [Down("root/watched", Crashed(ERROR))]


async def test_an_actor_that_never_ran_has_no_outcome() -> None:
    """Whoever watches an actor that has never run is told at once, without an outcome."""
    heard: list[object] = []
    never = Child("never", Puppet)
    async with running(Child("watcher", lambda: Puppet(heard)), clock=FakeClock()) as ref:
        await ref.tell(monitor(never.ref))
        await settle()
    assert heard == [Down("never", None)]


async def test_a_monitor_ends_with_its_watcher() -> None:
    """The next incarnation of a watcher is told nothing unless it watches too, and nothing is left behind."""
    clock, pair = FakeClock(), Pair()
    async with running(pair.supervisor, clock=clock):
        await pair.watch()
        crash(pair.watcher.ref, ERROR)
        await clock.advance(1)
        crash(pair.watched.ref, ERROR)
        await clock.advance(1)
        assert pair.heard == []
        assert not pair.watched.mailbox.watchers
        await pair.watch()
        crash(pair.watched.ref, ERROR)
        await clock.advance(1)
        assert len(pair.heard) == 1


async def test_a_down_that_was_not_read_ends_with_its_watcher() -> None:
    """A `Down` that waits when its watcher crashes does not reach the next incarnation, which watches nobody."""
    clock, pair, go = FakeClock(), Pair(), asyncio.Event()

    async def crash_later(_: Puppet) -> None:
        await go.wait()
        raise ERROR

    async with running(pair.supervisor, clock=clock):
        await pair.watch()
        await pair.watcher.ref.tell(Do(crash_later))
        await settle()
        crash(pair.watched.ref, ERROR)
        await settle()
        go.set()
        await clock.advance(1)
        assert pair.heard == []


async def test_watching_each_other_ends_well() -> None:
    """Two actors that watch each other, or an actor that watches itself, restart and stop like any other."""
    clock, heard = FakeClock(), list[object]()
    a, b = Child("a", lambda: Puppet(heard)), Child("b", lambda: Puppet(heard))
    async with running(Supervisor("root", [a, b]), clock=clock):
        for watcher, watched in ((a, b), (b, a), (a, a)):
            await watcher.ref.tell(monitor(watched.ref))
        await settle()
        crash(a.ref, ERROR)
        await settle()
        assert heard == [Down("root/a", Crashed(ERROR))]
        await clock.advance(1)
        # Neither watches any more: a is another incarnation, and b's own monitor ends with it.
        crash(b.ref, ERROR)
        await clock.advance(1)
        assert heard == [Down("root/a", Crashed(ERROR))]


async def test_a_stopped_watcher_leaves_no_dead_letter() -> None:
    """An end that nobody is left to be told of is no dead letter."""
    log, pair = EventLog(), Pair()
    async with running(pair.supervisor, clock=FakeClock(), log=log):
        await pair.watch()
    assert log.of(DeadLetter) == []


async def test_a_watcher_forgets_who_is_gone_for_good() -> None:
    """An actor that watches many short-lived children does not grow with their number."""
    clock = FakeClock()
    watcher = Child("watcher", Puppet)
    pool = DynamicSupervisor("pool")
    async with running(Supervisor("root", [watcher, pool]), clock=clock):
        for number in range(20):
            ref = await pool.start_child(Child(f"c{number}", Puppet))

            async def watch_it(puppet: Puppet, ref: ActorRef[Never] = ref) -> None:
                puppet.monitor(ref)

            await watcher.ref.tell(Do(watch_it))
            await settle()
            await pool.stop_child(f"c{number}")
        assert not watcher.mailbox.watching
