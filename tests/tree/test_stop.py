"""How the stop of a child always comes to an end: four stages, each with its limit, all under one deadline."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from supervisor import Actor, Child, Drain, DynamicSupervisor, Strategy, Supervisor
from supervisor.errors import MailboxClosed
from supervisor.testing import Shielded, Slow, Stubborn, crash, settle
from supervisor.tree.events import ChildAbandoned, ChildExited, ChildStarted, DeadLetterReason, StopStage
from supervisor.tree.outcome import Outcome, Shutdown, Stage
from supervisor.tree.slot import State
from tests.tree.actors import Diarist, Puppet, Rig, failure, outlived, states

if TYPE_CHECKING:
    from collections.abc import Callable

D, C, K, A = Stage.DRAINING, Stage.CANCELLING, Stage.KILLING, Stage.ABANDONED


class Waiting(Actor[object]):
    """Waits in one of the ways that a request to stop should end, and notes what came after."""

    def __init__(self, how: str, notes: list[str]) -> None:
        self.how = how
        self.notes = notes

    async def run(self) -> None:
        if self.how == "sleep":
            await self.sleep(1000)
        elif self.how == "every":
            async for _ in self.every(1000):
                pass
        elif self.how == "inbox":
            async for _ in self.inbox:
                pass
        self.notes.append("ended by itself")


class Counter(Actor[int]):
    """Notes each number; waits at a gate before it goes on."""

    def __init__(self, gate: asyncio.Event, seen: list[int]) -> None:
        self.gate = gate
        self.seen = seen

    async def handle(self, message: int) -> None:
        await self.gate.wait()
        self.seen.append(message)


class Talkative(Actor[int]):
    """Sends itself another message for each one it handles."""

    child: Child[int]

    async def handle(self, message: int) -> None:
        await asyncio.sleep(0)
        self.child.ref.tell_nowait(message + 1)


def stages(rig: Rig, name: str) -> list[tuple[float, Stage]]:
    """List when the stop of a child entered which stage."""
    times = rig.when(StopStage, name=name)
    return list(zip(times, [event.stage for event in rig.log.of(StopStage, name=name)], strict=True))


def exit_of(rig: Rig, name: str) -> Outcome:
    """Return how a child ended last."""
    return rig.log.of(ChildExited, name=name)[-1].outcome


@pytest.mark.parametrize(
    ("stop", "grace", "begins"), [(5.0, 2.0, D), (0.5, 1.0, D), (0.0, 2.0, C), (3.0, 0.0, D), (0.0, 0.0, C)]
)
@pytest.mark.parametrize(
    ("factory", "last"),
    [(Puppet, D), (Slow, C), (Shielded, K), (Stubborn, A)],
    ids=["polite", "slow", "shielded", "stubborn"],
)
async def test_each_kind_of_actor_ends_in_its_stage(
    factory: Callable[[], Actor[object]], last: Stage, stop: float, grace: float, begins: Stage
) -> None:
    """Each stage begins when the limit of the one before has passed, and the actor ends in the first it heeds."""
    made: list[Actor[object]] = []

    def make() -> Actor[object]:
        made.append(factory())
        return made[0]

    rig = Rig(Supervisor("root", [Child("a", make, stop_timeout=stop, cancel_grace=grace)]))
    await rig.tree.start()
    rig.mark()
    await rig.stop()
    if last is D and begins is C:
        last = C
    order = [(0, D), (stop, C), (stop + grace, K), (stop + grace + 0.2, A)]
    due = [(round(time, 3), stage) for time, stage in order if [D, C, K, A].index(stage) <= [D, C, K, A].index(last)]
    assert stages(rig, "a") == (due if begins is D else due[1:])
    assert exit_of(rig, "a") == Shutdown(last)
    assert rig.when(ChildExited, name="a") == [due[-1][0]]
    assert len(rig.log.of(ChildAbandoned, name="a")) == len(rig.runtime.abandoned) == (last is A)
    if isinstance(made[0], Stubborn):
        made[0].release()
    assert await outlived("root") == []
    assert rig.runtime.abandoned == set()


@pytest.mark.parametrize(("abandon", "last"), [(True, C), (False, K)])
async def test_a_thread_looks_like_a_shield(abandon: bool, last: Stage) -> None:
    """An actor that waits for a thread ends in the cancel stage only if it may abandon the thread, else in the kill."""
    release = threading.Event()

    class Threaded(Actor[object]):
        async def run(self) -> None:
            await anyio.to_thread.run_sync(release.wait, abandon_on_cancel=abandon)

    rig = Rig(Supervisor("root", [Child("a", Threaded)]))
    await rig.tree.start()
    await settle()
    await rig.stop()
    release.set()
    assert exit_of(rig, "a") == Shutdown(last)


@pytest.mark.parametrize("how", ["sleep", "every", "inbox"])
async def test_a_stop_ends_the_waits_of_an_actor(how: str) -> None:
    """`sleep`, `every` and the inbox end at the request to stop, so that the actor ends by itself."""
    notes: list[str] = []
    rig = Rig(Supervisor("root", [Child("a", partial(Waiting, how, notes))]))
    await rig.tree.start()
    await settle()
    rig.mark()
    await rig.stop()
    assert notes == ["ended by itself"]
    assert rig.when(ChildExited, name="a") == [0]


@pytest.mark.parametrize(("drain", "handled"), [(Drain.CURRENT, [1]), (Drain.QUEUE, [1, 2, 3])])
async def test_drain_says_how_much_is_handled(drain: Drain, handled: list[int]) -> None:
    """An actor ends after its current message or after its queue, takes no new ones, and buries the rest."""
    gate, seen = asyncio.Event(), list[int]()
    child = Child("a", partial(Counter, gate, seen), drain=drain)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    for number in (1, 2, 3):
        await child.ref.tell(number)
    await settle()
    rig.tree.stop()
    await settle()
    assert isinstance(await failure(child.ref.tell(4)), MailboxClosed)
    gate.set()
    await rig.ended()
    assert seen == handled
    assert (
        sorted(str(letter.message) for letter in rig.runtime.dead_letters.last) == ["2", "3", "4"][len(handled) - 1 :]
    )
    assert set(rig.runtime.dead_letters.counts) == {DeadLetterReason.CLOSED}


async def test_a_queue_drain_ends_with_what_was_queued() -> None:
    """With `Drain.QUEUE` messages that come after the request to stop do not prolong the stop of a restart."""
    root = Supervisor("root", [child := Child("a", Talkative, drain=Drain.QUEUE)])
    Talkative.child = child
    rig = Rig(root)
    await rig.tree.start()
    child.ref.tell_nowait(0)
    await settle()
    rig.mark()
    async with asyncio.TaskGroup() as group:
        group.create_task(root.restart_child("a"))
        await rig.clock.advance(10)
    assert exit_of(rig, "a") == Shutdown(D)
    await rig.stop()


async def test_children_stop_in_reverse_order_one_at_a_time() -> None:
    """The child started last stops first, nested ones too, and the next one waits for it."""
    diary: list[str] = []
    leaf = partial(Diarist, diary)
    inner = Supervisor("inner", [Child("b", leaf), Child("c", Slow, stop_timeout=1), Child("d", leaf)])
    rig = Rig(Supervisor("root", [Child("a", leaf), inner, Child("e", leaf)]))
    await rig.tree.start()
    rig.mark()
    await rig.stop()
    assert [event.path for event in rig.log.of(ChildExited)] == [
        *["root/e", "root/inner/d", "root/inner/c", "root/inner/b"],
        *["root/inner", "root/a", "root"],
    ]
    assert rig.when(ChildExited) == [0, 0, 1, 1, 1, 1, 1]
    assert diary[4:] == ["teardown e", "teardown d", "teardown b", "teardown a"]


async def test_a_stop_during_a_backoff_starts_nobody() -> None:
    """A child that waits to be restarted when the stop comes is not started any more."""
    children = [Child(name, Puppet) for name in "ab"]
    rig = Rig(Supervisor("root", children, Strategy.ONE_FOR_ALL))
    await rig.tree.start()
    crash(children[0].ref, ValueError())
    await settle()
    assert set(states(rig.tree).values()) == {State.BACKOFF}
    rig.mark()
    await rig.stop()
    assert rig.when(ChildExited, path="root") == [0]
    await rig.clock.advance(60)
    assert rig.log.of(ChildStarted) == []
    assert rig.clock.pending == 0


async def test_a_second_stop_changes_nothing() -> None:
    """Asking again, during the stop or after it, neither shortens nor prolongs it."""
    rig = Rig(Supervisor("root", [Child("a", Slow)]))
    await rig.tree.start()
    rig.mark()
    rig.tree.stop()
    await rig.clock.advance(2)
    rig.tree.stop()
    await rig.ended()
    rig.tree.stop()
    assert await rig.tree.wait() == Shutdown(D)
    assert stages(rig, "a") == [(0, D), (5, C)]


async def test_an_asker_learns_of_the_stop() -> None:
    """Whoever waits for an answer of an actor that is cut short gets MailboxClosed at once."""
    child = Child("a", partial(Counter, asyncio.Event(), []), stop_timeout=0)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    async with asyncio.TaskGroup() as group:
        asks = [group.create_task(failure(child.ref.within(1000).ask(lambda reply: 1))) for _ in range(2)]
        await settle()
        rig.tree.stop()
        await rig.ended()
    assert [type(ask.result()) for ask in asks] == [MailboxClosed, MailboxClosed]


def test_a_supervisors_own_limit_is_the_sum_of_its_childrens() -> None:
    """The time that a stop may take is computed from the children, never configured."""
    first = Child("a", Puppet, stop_timeout=1, cancel_grace=2, teardown_timeout=3)
    second = Child("b", Puppet, stop_timeout=10, cancel_grace=1, teardown_timeout=1)
    assert first.stop_limit == pytest.approx(1 + 3 + 0.2)
    assert second.stop_limit == pytest.approx(10 + 1 + 0.2)
    inner = Supervisor("inner", [first, second])
    assert inner.stop_limit >= first.stop_limit + second.stop_limit
    assert Supervisor("root", [inner, DynamicSupervisor("dynamic")]).stop_limit > inner.stop_limit
