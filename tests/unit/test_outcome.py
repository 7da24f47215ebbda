"""Holds the classification of ends to its table: one outcome each, and nothing that escapes."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from supervisor.errors import Ignore, StartFailed, Stop, UnexpectedCancel
from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Restart
from supervisor.tree.events import ChildExited, ChildStarted, ExitRequested
from supervisor.tree.outcome import (
    Crashed,
    ExitAsked,
    Ignored,
    Normal,
    Outcome,
    Shutdown,
    Stage,
    classify,
    describe,
    summary,
)
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Do, Puppet, pause

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Coroutine, Generator, Sequence

STAGES: Final[Sequence[Stage | None]] = (None, *Stage)
ERROR: Final = ValueError("why")


class Rude(BaseException):
    """What no user code should define."""


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    """Make a group as a task group raises it."""
    return BaseExceptionGroup("unhandled errors in a TaskGroup", errors)


# --- the table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [None, Stop(), Stop("reason")])
def test_a_return_or_stop_is_normal(error: Stop | None, stage: Stage | None) -> None:
    """An actor that returned or raised `Stop` ended normally, or within the stop that was asked for."""
    assert classify(error, stage) == (Normal() if stage is None else Shutdown(stage))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [ERROR, UnexpectedCancel(), TimeoutError(), Rude(), OSError(5, "I/O")])
def test_any_other_error_is_a_crash(error: BaseException, stage: Stage | None) -> None:
    """An error is a crash and is kept as it is, also when the actor was to stop."""
    outcome = classify(error, stage)
    assert outcome == Crashed(error, severe=False)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [MemoryError(), RecursionError()])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_severe_crashes_are_marked(error: Exception, stage: Stage | None, grouped: bool) -> None:
    """MemoryError and RecursionError, alone or in a group, are severe crashes."""
    raised = group(ERROR, error) if grouped else error
    assert classify(raised, stage) == Crashed(raised, severe=True)


def test_an_unrequested_cancel_is_a_crash() -> None:
    """A cancel that nobody asked for is a crash, never a normal end."""
    outcome = classify(CancelledError(), None)
    assert isinstance(outcome, Crashed)
    assert isinstance(outcome.error, UnexpectedCancel)


@pytest.mark.parametrize("stage", [Stage.CANCELLING, Stage.KILLING])
@pytest.mark.parametrize(
    "error", [CancelledError(), group(CancelledError()), group(CancelledError(), group(CancelledError()))]
)
def test_a_requested_cancel_is_a_shutdown(error: BaseException, stage: Stage) -> None:
    """A cancel, or a group of nothing but cancels, ends the stop that was asked for."""
    assert classify(error, stage) == Shutdown(stage)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "error",
    [group(ERROR), group(CancelledError(), ERROR), group(group(CancelledError(), group(ERROR))), group(Stop(), ERROR)],
)
def test_a_group_with_an_error_is_a_crash(error: BaseException, stage: Stage | None) -> None:
    """One real error among the leaves makes a crash, which keeps the whole group."""
    assert classify(error, stage) == Crashed(error)


def test_a_group_of_unrequested_cancels_is_a_crash() -> None:
    """A group of nothing but cancels that nobody asked for is a crash."""
    error = group(CancelledError(), CancelledError())
    assert classify(error, None) == Crashed(error)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (SystemExit(), ExitAsked(0)),
        (SystemExit(None), ExitAsked(0)),
        (SystemExit(0), ExitAsked(0)),
        (SystemExit(3), ExitAsked(3)),
        (SystemExit("a message"), ExitAsked(1, "a message")),
        (KeyboardInterrupt(), ExitAsked(130)),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_exit_is_passed_on(error: BaseException, asked: ExitAsked, depth: int, stage: Stage | None) -> None:
    """SystemExit and KeyboardInterrupt, however deep in groups, ask the whole process to stop with that code."""
    for _ in range(depth):
        error = group(CancelledError(), error, ERROR)
    assert classify(error, stage) == asked


@pytest.mark.parametrize("stage", STAGES)
def test_ignore_is_no_failure(stage: Stage | None) -> None:
    """An actor that raised `Ignore` declined to run."""
    assert classify(Ignore("switched off"), stage) == Ignored()


def test_the_control_signals_are_exceptions() -> None:
    """`Stop` and `Ignore` derive from Exception, so that ordinary cleanup code sees them pass."""
    assert all(issubclass(signal, Exception) for signal in (Stop, Ignore))


# --- in words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Normal(), "normal"),
        (Ignored(), "declined to run"),
        (Shutdown(Stage.DRAINING), "stopped while draining"),
        (Shutdown(Stage.CANCELLING), "stopped while cancelling"),
        (Shutdown(Stage.KILLING), "stopped while killing"),
        (Shutdown(Stage.ABANDONED), "abandoned"),
        (ExitAsked(3), "asked the process to exit with 3"),
        (Crashed(ERROR), "crashed: ValueError: why"),
        (
            Crashed(group(ERROR, group(KeyError("k"), ValueError()))),
            "crashed: BaseExceptionGroup of KeyError, ValueError",
        ),
    ],
)
def test_every_outcome_has_a_phrase(outcome: Outcome, words: str) -> None:
    """Each outcome is described in one short phrase."""
    words = words.replace("BaseExceptionGroup", type(group(ERROR)).__name__)
    assert describe(outcome) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError(), "ValueError"), (ValueError("one\ntwo"), "ValueError: one"), (ERROR, "ValueError: why")],
)
def test_an_error_is_named_in_one_line(error: BaseException, words: str) -> None:
    """A summary is the error's type and the first line of its text."""
    assert summary(error) == words


# --- in a tree ----------------------------------------------------------------------------------------


def raising(error: BaseException) -> Do:
    """Make a puppet raise this."""

    async def act(_: Puppet) -> None:
        raise error

    return Do(act)


async def cancel_myself(_: Puppet) -> None:
    """Cancel the actor's own task, as a confused library might."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def exit_in_a_group(_: Puppet) -> None:
    """Raise SystemExit among other errors."""
    raise group(ERROR, SystemExit(4))


ENDS: Final = {
    "stop": (raising(Stop()), Normal),
    "crash": (raising(ERROR), Crashed),
    "base": (raising(Rude()), Crashed),
    "memory": (raising(MemoryError()), Crashed),
    "cancel": (Do(cancel_myself), Crashed),
    "bare cancel": (raising(CancelledError()), Crashed),
    "exit": (raising(SystemExit(3)), ExitAsked),
    "interrupt": (raising(KeyboardInterrupt()), ExitAsked),
    "exit in a group": (Do(exit_in_a_group), ExitAsked),
}


@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize(("message", "kind"), ENDS.values(), ids=ENDS)
async def test_the_policy_decides_what_follows(message: Do, kind: type[Outcome], restart: Restart) -> None:
    """Permanent children come back from any end but an exit, transient ones from crashes, temporary ones never."""
    clock, log, complaints = FakeClock(), EventLog(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with running(Child("x", Puppet, restart=restart), clock=clock, log=log) as ref:
        await ref.tell(message)
        await clock.advance(1)
    back = {Normal: (Restart.PERMANENT,), Crashed: (Restart.PERMANENT, Restart.TRANSIENT)}.get(kind, ())
    assert len(log.of(ChildStarted, name="x")) == (2 if restart in back else 1)
    assert isinstance(log.of(ChildExited, name="x")[0].outcome, kind)
    assert complaints == []


@pytest.mark.parametrize(("error", "code"), [(SystemExit(3), 3), (KeyboardInterrupt(), 130)])
async def test_an_exit_asks_the_process_to_stop(error: BaseException, code: int) -> None:
    """SystemExit in an actor becomes a request to whoever runs the tree, with the code, and harms no sibling."""
    log, codes = EventLog(), list[int]()
    nodes = [Child("x", Puppet), Child("y", Puppet)]
    async with running(Supervisor("root", nodes), clock=FakeClock(), log=log) as tree:
        tree.runtime.on_exit_request = codes.append
        crash(nodes[0].ref, error)
        await settle()
        assert len(log.of(ChildExited)) == 1
    assert codes == [code]
    assert log.of(ExitRequested) == [ExitRequested("root/x", code)]


async def test_a_cancel_before_the_first_step_is_recorded() -> None:
    """A task that foreign code cancels before it has run at all ends as a crash, not without a trace."""
    loop, log = asyncio.get_running_loop(), EventLog()

    def cancelled_at_birth(
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: contextvars.Context | None = None,
        **_: object,
    ) -> asyncio.Task[Any]:
        # The rest of the options are those of later Pythons, such as `eager_start`.
        born: list[asyncio.Task[Any]] = []
        # Scheduled before the task is, so that it runs before the task's first step.
        loop.call_soon(lambda: born[0].get_name() == "root/x" and born[0].cancel())
        born.append(asyncio.Task(coro, loop=loop, context=context))
        return born[0]

    loop.set_task_factory(cancelled_at_birth)
    with pytest.raises(StartFailed) as caught:
        async with running(Child("x", Puppet), clock=FakeClock(), log=log):
            pass
    assert isinstance(caught.value.__cause__, UnexpectedCancel)
    assert log.of(ChildExited, name="x", outcome=Crashed(caught.value.__cause__))


async def test_one_crash_cancels_no_sibling() -> None:
    """The children of a supervisor share no task group: one that crashes leaves the others running."""
    clock, log = FakeClock(), EventLog()
    nodes = [Child(name, Puppet, restart=Restart.TEMPORARY) for name in "abc"]
    async with running(Supervisor("root", nodes), clock=clock, log=log):
        for error in (ERROR, Rude(), group(ERROR)):
            crash(nodes[1].ref, error)
            await clock.advance(1)
        assert [event.path for event in log.of(ChildExited)] == ["root/b"]


# --- cleanup ------------------------------------------------------------------------------------------


class Careful(Actor[object]):
    """Notes which of its cleanup got to its end."""

    def __init__(self, done: list[str], *, cleanup: float = 0.5) -> None:
        self.done = done
        self.cleanup = cleanup

    async def run(self) -> None:
        try:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.move_on_after(100, shield=True):
                    await pause(self, self.cleanup)
                    self.done.append("shielded finally")
        finally:
            await pause(self, self.cleanup)
            self.done.append("bare finally")

    async def teardown(self) -> None:
        await pause(self, self.cleanup)
        self.done.append("teardown")


async def test_cleanup_that_awaits_belongs_in_teardown_or_behind_a_shield() -> None:
    """After a cancel `teardown` and shielded cleanup run to their end, and a bare `finally` that awaits does not."""
    done: list[str] = []
    async with running(Child("x", lambda: Careful(done), stop_timeout=0), clock=FakeClock()):
        pass
    assert done == ["shielded finally", "teardown"]


async def test_teardown_runs_after_a_crash() -> None:
    """`teardown` runs to its end after a crash of `run` too, and the crash stays the outcome."""
    clock, log, done = FakeClock(), EventLog(), list[str]()

    class Crashes(Careful):
        async def run(self) -> None:
            raise ERROR

    async with running(Child("x", lambda: Crashes(done), restart=Restart.TEMPORARY), clock=clock, log=log):
        await clock.advance(1)
    assert done == ["teardown"]
    assert log.of(ChildExited, name="x", outcome=Crashed(ERROR))


async def test_teardown_has_a_limit_of_its_own() -> None:
    """A `teardown` that takes too long is cut short, and the stop goes on."""
    log, done = EventLog(), list[str]()

    class Returns(Careful):
        async def run(self) -> None:
            await Actor.run(self)

    async with running(Child("x", lambda: Returns(done, cleanup=1000), teardown_timeout=2), clock=FakeClock(), log=log):
        pass
    assert done == []
    assert len(log.of(ChildExited, name="x")) == 1


async def test_after_a_kill_there_is_no_cleanup() -> None:
    """A native cancel pierces shields: what has to be killed gets no `teardown`."""
    log, done = EventLog(), list[str]()

    class Shielded(Careful):
        async def run(self) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep_forever()

    async with running(Child("x", lambda: Shielded(done)), clock=FakeClock(), log=log):
        pass
    assert done == []
    assert log.of(ChildExited, name="x", outcome=Shutdown(Stage.KILLING))
