"""Holds the hook for tracing to its promise: it sees each message from its sender to the end of its handling."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from supervisor.errors import ActorCrashed, MailboxClosed, Stop
from supervisor.testing import EventLog, FakeClock, settle
from supervisor.tree.child import Child
from supervisor.tree.events import ChildExited, DeadLetter
from supervisor.tree.outcome import Crashed, Shutdown, Stage
from supervisor.tree.runtime import Runtime
from supervisor.tree.supervisor import Supervisor
from supervisor.tree.tree import Tree
from tests.unit.puppet import Answering, Do, Please, Puppet, echo, fail, nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

SENDER: ContextVar[str] = ContextVar("sender", default="nobody")


class Span:
    """What a tracer hands out for one message: it notes how its handling ended."""

    def __init__(self, path: str, message: object, sender: object) -> None:
        self.path = path
        self.message = message
        self.sender = sender
        self.entered = 0
        self.exits: list[BaseException | None] = []

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert kind is (None if error is None else type(error))
        self.exits.append(error)


class Tracer:
    """Captures a context variable of the sender, and keeps its spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def capture(self) -> object:
        return SENDER.get()

    def handling(self, path: str, message: object, sender: object) -> AbstractContextManager[object]:
        span = Span(path, message, sender)
        self.spans.append(span)
        return span


@dataclass(frozen=True, slots=True)
class Traced:
    """A running tree with a tracer."""

    child: Child[object]
    tree: Tree
    clock: FakeClock
    log: EventLog


@asynccontextmanager
async def traced(tracer: Tracer | Scoped | Faulty, child: Child[object] | None = None) -> AsyncIterator[Traced]:
    """Run one puppet in a tree with this tracer."""
    clock, log = FakeClock(), EventLog()
    child = child or puppet()
    runtime = Runtime(clock=clock, tracer=tracer)
    runtime.subscribe(log)
    tree = Tree(Supervisor("root", [child]), runtime)
    await tree.start()
    try:
        yield Traced(child, tree, clock, log)
    finally:
        tree.stop()
        for _ in range(20):
            await clock.advance(1)
        assert tree.outcome is not None, "the tree did not stop"


def puppet(heard: list[object] | None = None, capacity: int = 100) -> Child[object]:
    """Declare a puppet; the tests know what it understands."""
    child: Child[object] = Child("x", lambda: Puppet(heard), capacity=capacity)  # type: ignore[arg-type,return-value]
    return child


# --- without a tracer ---------------------------------------------------------------------------------


async def test_without_a_tracer_nothing_is_wrapped() -> None:
    """Without a tracer the very objects that were told lie in the mailbox."""
    child, messages = puppet(), [object() for _ in range(2)]
    await child.ref.tell(messages[0])
    child.ref.tell_nowait(messages[1])
    assert all(item is message for item, message in zip(child.mailbox.items, messages, strict=True))


# --- with a tracer ------------------------------------------------------------------------------------


async def test_the_span_knows_the_sender() -> None:
    """For tell, tell_nowait and ask the tracer gets the path, the message, and the context at the moment of sending."""
    tracer = Tracer()
    async with traced(tracer) as run:
        ref = run.child.ref
        for sender, send in (("a", ref.tell), ("b", ref.tell_nowait)):
            SENDER.set(sender)
            result = send(sender)
            if result is not None:
                await result
        SENDER.set("c")
        assert await ref.ask(Please, echo) == "echo"
        SENDER.set("later")
        await settle()
    assert [span.sender for span in tracer.spans] == ["a", "b", "c"]
    assert [span.message for span in tracer.spans[:2]] == ["a", "b"]
    assert isinstance(tracer.spans[2].message, Please)
    assert {span.path for span in tracer.spans} == {"root/x"}


async def test_a_waiting_sender_is_captured_when_it_sends() -> None:
    """The context of a sender that waits for room is that of its tell, not of the moment there is room."""
    tracer, go = Tracer(), asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async def send(run: Traced) -> None:
        SENDER.set("waiting")
        await run.child.ref.tell("late")

    async with traced(tracer, puppet(capacity=1)) as run, asyncio.TaskGroup() as group:
        await run.child.ref.tell(Do(block))
        await settle()
        await run.child.ref.tell("fills the mailbox")
        group.create_task(send(run))
        await settle()
        go.set()
        await settle()
    assert [span.sender for span in tracer.spans] == ["nobody", "nobody", "waiting"]


async def test_a_span_lasts_as_long_as_the_handling() -> None:
    """The span is entered before the message is handled and left when the actor reads again."""
    tracer, go, heard = Tracer(), asyncio.Event(), list[object]()

    async def look(_: Puppet) -> None:
        heard.append([(span.entered, span.exits) for span in tracer.spans])
        await go.wait()

    async with traced(tracer) as run:
        await run.child.ref.tell(Do(look))
        await settle()
        assert heard == [[(1, [])]]
        go.set()
        await settle()
        assert [(span.entered, span.exits) for span in tracer.spans] == [(1, [None])]


async def test_spans_do_not_overlap() -> None:
    """Of the spans of one actor each is left before the next is entered."""

    class Strict(Tracer):
        def handling(self, path: str, message: object, sender: object) -> AbstractContextManager[object]:
            assert all(span.exits for span in self.spans)
            return super().handling(path, message, sender)

    tracer, heard = Strict(), list[object]()
    async with traced(tracer, puppet(heard)) as run:
        for number in range(10):
            await run.child.ref.tell(str(number))
        await settle()
    assert len(heard) == len(tracer.spans) == 10
    assert [span.exits for span in tracer.spans] == [[None]] * 10


async def nothing_at_all(_: Puppet) -> None:
    """Do nothing."""


async def test_a_crash_is_the_error_of_its_span() -> None:
    """The span of the message that an actor crashes over is left with the error."""
    tracer = Tracer()
    async with traced(tracer) as run:
        answer = run.child.ref.ask_nowait(Please, fail)
        await run.child.ref.tell(Do(fail))
        await run.child.ref.tell(Do(nothing_at_all))
        await run.clock.advance(1)
        crashed = answer.exception()
    assert isinstance(crashed, ActorCrashed)
    assert tracer.spans[0].exits == [crashed.__cause__]
    assert isinstance(tracer.spans[1].exits[0], ValueError)
    assert tracer.spans[2].exits == [None]


@pytest.mark.parametrize("how", ["stop", "interruption"])
async def test_every_span_is_left(how: str) -> None:
    """A span is left once, also when the actor ends normally, or is cut short by a stop."""

    async def ends(_: Puppet) -> None:
        if how == "stop":
            raise Stop
        await anyio.sleep_forever()

    tracer = Tracer()
    async with traced(tracer) as run:
        await run.child.ref.tell(Do(ends))
        await settle()
    assert [len(span.exits) for span in tracer.spans] == [1]


async def test_what_is_not_handled_has_no_span() -> None:
    """An expired request, and a message that is buried unread, are never handled."""
    tracer, go = Tracer(), asyncio.Event()

    async def block(_: Puppet) -> None:
        await go.wait()

    async with traced(tracer) as run, asyncio.TaskGroup() as group:
        await run.child.ref.tell(Do(block))
        asker = group.create_task(run.child.ref.ask(Please, nothing))
        await settle()
        asker.cancel()
        await settle()
        go.set()
        await settle()
    with pytest.raises(MailboxClosed):
        await run.child.ref.tell("after the end")
    assert len(tracer.spans) == 1
    # What was wrapped for its journey is buried as itself.
    assert run.log.of(DeadLetter, message="after the end")


async def test_messages_from_before_the_start_are_handled_without_a_span() -> None:
    """What was told before the tree had a tracer is handled like any other message."""
    tracer, heard = Tracer(), list[object]()
    child = puppet(heard)
    await child.ref.tell("early")
    async with traced(tracer, child):
        await settle()
    assert heard == ["early"]
    assert tracer.spans == []


# --- tracers as they are written ----------------------------------------------------------------------


class Scoped:
    """A tracer as one writes it: a generator that sets a context variable for the length of the handling."""

    current: ContextVar[object] = ContextVar("current", default=None)

    def __init__(self) -> None:
        self.ended: list[str] = []

    def capture(self) -> object:
        return None

    @contextmanager
    def handling(self, path: str, message: object, sender: object) -> Iterator[None]:
        token = self.current.set(message)
        try:
            yield
        finally:
            # Raises ValueError in any other context than the one of the handling.
            self.current.reset(token)
            self.ended.append(type(message).__name__)


@pytest.mark.parametrize(("act", "error"), [(echo, None), (fail, ActorCrashed)], ids=["answer", "crash"])
async def test_a_span_is_entered_and_left_in_the_actors_context(act: Answering, error: type[Exception] | None) -> None:
    """A tracer may set a context variable at the start and reset it at the end, whatever the end is."""
    tracer = Scoped()
    async with traced(tracer) as run:
        answers = [run.child.ref.ask_nowait(Please, act), run.child.ref.ask_nowait(Please, echo)]
        await run.clock.advance(1)
        assert [answer.done() for answer in answers] == [True, True]
        assert [type(answer.exception()) for answer in answers] == [error or type(None), type(None)]
    assert tracer.ended == ["Please", "Please"]


async def test_a_span_keeps_the_traceback_of_a_crash() -> None:
    """The error of a crash still knows where it was raised after a tracer has seen it."""
    async with traced(Scoped()) as run:
        await run.child.ref.tell(Do(fail))
        await run.clock.advance(1)
    crashed = run.log.of(ChildExited, name="x")[0].outcome
    assert isinstance(crashed, Crashed)
    assert crashed.error.__traceback__ is not None


class Faulty:
    """A tracer that fails at one point."""

    def __init__(self, point: str) -> None:
        self.point = point

    def fail_at(self, point: str) -> None:
        if self.point == point:
            raise LookupError(point)

    def capture(self) -> object:
        return None

    def handling(self, path: str, message: object, sender: object) -> AbstractContextManager[object]:
        self.fail_at("handling")
        return self

    def __enter__(self) -> None:
        self.fail_at("enter")

    def __exit__(self, *_: object) -> None:
        self.fail_at("exit")


@pytest.mark.parametrize("point", ["handling", "enter", "exit"])
async def test_a_broken_tracer_makes_no_message_disappear(point: str) -> None:
    """A message over which the tracer fails is handled or becomes a dead letter."""
    heard: list[object] = []
    async with traced(Faulty(point), puppet(heard)) as run:
        await run.child.ref.tell("a")
        await run.clock.advance(1)
    assert heard.count("a") + len(run.log.of(DeadLetter, message="a")) == 1


async def test_a_broken_tracer_does_not_hold_up_the_end() -> None:
    """An actor whose tracer fails at the end of a message still ends, and its supervisor learns of it."""
    async with traced(Faulty("exit")) as run:
        await run.child.ref.tell(Do(fail))
        await run.clock.advance(1)
        assert run.log.of(ChildExited, name="x")
    assert run.tree.outcome == Shutdown(Stage.DRAINING)
