"""The tree against a model of OTP's supervisor: the same random history must lead to the same children."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Backoff, Child, Ignore, Restart, Stop, Strategy, Supervisor
from supervisor.errors import GaveUp, StartFailed
from supervisor.tree.events import Event, StopStage
from supervisor.tree.mailbox import resolve
from supervisor.tree.outcome import Crashed, Stage
from supervisor.tree.runtime import Runtime
from supervisor.tree.slot import State
from supervisor.tree.tree import Tree
from tests.tree.actors import Puppet, failure, states
from tests.tree.otp_model import Model
from tests.tree.otp_terms import Attempt, Exit, Group, Kind, Limits, Member, Policy
from tests.tree.quiet import QuietClock, QuietLoop

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Ends:
    """These children end at the same moment."""

    children: tuple[tuple[str, Exit], ...]


@dataclass(frozen=True)
class Plan:
    """The next starts of this child will go like this."""

    name: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Pass:
    """Time passes."""

    seconds: float


@dataclass(frozen=True)
class Command:
    """The child is stopped or restarted by command."""

    name: str
    stop: bool


Step = Ends | Plan | Pass | Command


@dataclass(frozen=True)
class History:
    """A tree, and what happens to it."""

    group: Group
    limits: Limits
    kinds: dict[str, Kind]
    first_starts: dict[str, list[Attempt]]
    steps: list[Step]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a tree of up to four children and up to twenty-five steps; every number is exact in binary."""
    takes = st.sampled_from([0.0, 0.0, 0.0625, 0.5, 1.0])
    kinds = draw(st.lists(st.builds(Kind, st.sampled_from(Policy), takes, takes), min_size=1, max_size=4))
    names = st.sampled_from("abcd"[: len(kinds)])
    ends = st.lists(st.tuples(names, st.sampled_from(Exit)), min_size=1, max_size=3, unique_by=lambda end: end[0])
    limits = Limits(
        intensity=draw(st.integers(1, 4)),
        period=draw(st.sampled_from([2.0, 4.0, 16.0, 64.0])),
        first=0.125,
        cap=0.5,
        healthy_after=draw(st.sampled_from([0.5, 4.0, 32.0])),
    )
    edges = [limit - earlier for limit in (limits.period, limits.healthy_after) for earlier in (0.0, 0.125, 0.375)]
    times = st.sampled_from([0.0625, 0.125, 0.25, 0.5, 1.0, 4.0, *edges])
    steps = st.one_of(
        ends.map(tuple).map(Ends),
        ends.map(tuple).map(Ends),
        times.map(Pass),
        times.map(Pass),
        st.builds(Plan, names, st.lists(st.sampled_from(Attempt), min_size=1, max_size=3).map(tuple)),
        st.builds(Command, names, st.booleans()),
    )
    unlucky = draw(st.booleans()) and draw(st.booleans())
    first = st.lists(st.sampled_from(Attempt), max_size=1) if unlucky else st.just([])
    return History(
        group=draw(st.sampled_from(Group)),
        limits=limits,
        kinds=dict(zip("abcd", kinds, strict=False)),
        first_starts={name: draw(first) for name in "abcd"[: len(kinds)]},
        steps=draw(st.lists(steps, max_size=25)),
    )


class Scripted(Puppet):
    """Starts as planned, takes its time to start and to stop, and writes every start down."""

    def __init__(self, kind: Kind, plan: list[Attempt], journal: list[str]) -> None:
        super().__init__()
        self.kind = kind
        self.plan = plan
        self.journal = journal

    async def _pause(self, seconds: float) -> None:
        if seconds:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.clock.call_later(seconds, partial(resolve, waiter))
            await waiter

    async def setup(self) -> None:
        self.journal.append(f"start {self.name}")
        attempt = self.plan.pop(0) if self.plan else Attempt.RUNS
        await self._pause(self.kind.start_takes)
        match attempt:
            case Attempt.RUNS:
                pass
            case Attempt.FAILS:
                raise OSError
            case Attempt.IGNORES:
                raise Ignore

    async def teardown(self) -> None:
        if self.stopping:
            await self._pause(self.kind.stop_takes)


class Real:
    """The real tree of a history."""

    def __init__(self, history: History, loop: QuietLoop) -> None:
        limits = history.limits
        backoff = Backoff(first=limits.first, cap=limits.cap, jitter=0, healthy_after=limits.healthy_after)
        self.journal: list[str] = []
        self.plans = {name: list(plan) for name, plan in history.first_starts.items()}
        self.children: dict[str, Child[object]] = {
            name: Child(
                name,
                partial(Scripted, kind, self.plans[name], self.journal),
                restart=Restart(kind.policy.value),
                backoff=backoff,
            )
            for name, kind in history.kinds.items()
        }
        self.root = Supervisor(
            "root",
            list(self.children.values()),
            Strategy(history.group.value),
            max_restarts=limits.intensity,
            within=limits.period,
        )
        self.loop = loop
        self.clock = QuietClock(loop)
        runtime = Runtime(clock=self.clock, seed=0)
        runtime.subscribe(self._note)
        self.tree = Tree(self.root, runtime)

    def _note(self, event: Event) -> None:
        if isinstance(event, StopStage) and event.stage is Stage.DRAINING and event.path != "root":
            self.journal.append(f"stop {event.path.rpartition('/')[2]}")

    @property
    def running(self) -> set[str]:
        """Names of the children that run."""
        return {name for name, state in states(self.tree).items() if state is State.RUNNING}

    async def take(self, step: Step, group: asyncio.TaskGroup) -> None:
        """Let this happen, and wait until everything that follows at once has happened."""
        match step:
            case Ends(children):
                for name, end in children:
                    self.children[name].ref.mailbox.put_control(Stop() if end is Exit.NORMAL else ValueError())
            case Plan(name, attempts):
                self.plans[name][:] = attempts
            case Pass(seconds):
                await self.clock.advance(seconds)
            case Command(name, stop):
                group.create_task(failure(self.root.stop_child(name) if stop else self.root.restart_child(name)))
            case _:
                assert_never(step)
        await self.loop.quiet()


def imagine(model: Model, step: Step) -> Step:
    """Let the same happen to the model; return what of it can happen to the tree."""
    match step:
        case Ends(children):
            step = Ends(tuple((name, end) for name, end in children if name in model.running))
            model.exits(list(step.children))
        case Plan(name, attempts):
            model.plans[name][:] = attempts
        case Pass(seconds):
            model.advance(seconds)
        case Command(name, stop):
            model.command(name, stop=stop)
        case _:
            assert_never(step)
    return step


async def compare(history: History, loop: QuietLoop) -> None:
    """Run the history in both worlds and hold them against each other after every step."""
    real = Real(history, loop)
    model = Model(
        group=history.group,
        limits=history.limits,
        members=[Member(name, kind) for name, kind in history.kinds.items()],
        plans={name: list(plan) for name, plan in history.first_starts.items()},
    )
    async with asyncio.TaskGroup() as group:
        start = group.create_task(failure(real.tree.start()))
        try:
            model.start()
            await loop.quiet()
            for step in [Pass(0.0), *history.steps, Pass(16.0)]:
                if not model.over:
                    await real.take(imagine(model, step), group)
                assert real.running == model.running
                assert real.journal == model.journal
                assert (real.tree.outcome is not None) is model.over
            if model.over:
                assert isinstance(real.tree.outcome, Crashed)
                assert isinstance(real.tree.outcome.error, StartFailed if start.result() else GaveUp)
        finally:
            real.tree.stop()
            await real.clock.advance(16.0)
            await real.tree.wait()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """Provide one quiet loop for all examples."""
    with asyncio.Runner(debug=False, loop_factory=QuietLoop) as runner:
        yield runner


def run(history: History, runner: asyncio.Runner) -> None:
    """Compare in the quiet loop."""
    loop = runner.get_loop()
    assert isinstance(loop, QuietLoop)
    runner.run(compare(history, loop))


@pytest.mark.timeout(600)  # to shrink a failure takes longer than to find it
@settings(max_examples=1000)
@given(history=histories())
def test_the_tree_follows_the_rules_of_otp(runner: asyncio.Runner, history: History) -> None:
    """After every step of any history the tree and the model run the same children, started and stopped in step."""
    run(history, runner)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@given(history=histories())
def test_the_tree_follows_the_rules_of_otp_for_long(runner: asyncio.Runner, history: History) -> None:
    """The same holds for as many histories as the soak profile asks for."""
    run(history, runner)
