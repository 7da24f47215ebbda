"""Each handled message is one short span, linked to its sender and never part of its trace."""

from __future__ import annotations

import contextvars
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import INVALID_SPAN, SpanContext, SpanKind, StatusCode, get_current_span, use_span

from supervisor.telemetry.spans import OtelMessageTracer
from supervisor.testing import EventLog
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.events import ChildExited
from supervisor.tree.runtime import Runtime
from supervisor.tree.supervisor import Supervisor
from supervisor.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from supervisor.tree.refs import Reply


class Counter(Actor["Counter.Add | Counter.Total"]):
    @dataclass(frozen=True)
    class Add:
        """Count so many."""

        amount: int

    @dataclass(frozen=True)
    class Total:
        """Tell how many."""

        reply: Reply[int]

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self.total = 0

    async def handle(self, message: Counter.Add | Counter.Total) -> None:
        match message:
            case Counter.Add(amount):
                if amount < 0:
                    raise ValueError("cannot count down")
                with self.tracing.span("inner"):
                    self.total += amount
            case Counter.Total(reply):
                reply.send(self.total)


class Tracing:
    """A tracer whose spans end in memory, and a tree with one counter."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OtelMessageTracer(self.provider)
        self.span = self.provider.get_tracer("test").start_as_current_span
        self.log = EventLog()
        self.counter = Child("counter", lambda: Counter(self))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Child[Counter.Add | Counter.Total]]:
        runtime = Runtime(tracer=self.tracer)
        runtime.subscribe(self.log)
        tree = Tree(Supervisor("root", [self.counter]), runtime)
        await tree.start()
        try:
            yield self.counter
        finally:
            tree.stop()
            await tree.wait()

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def tracing() -> Tracing:
    """A tracer that records every span."""
    return Tracing()


async def test_a_message_is_one_span(tracing: Tracing) -> None:
    """A handled message has a span with its type and its actor, and nothing of its content."""
    async with tracing.running() as counter:
        await counter.ref.tell(Counter.Add(5))
        assert await counter.ref.ask(Counter.Total) == 5
    (span,) = tracing.spans("handle Counter.Add")
    assert span.kind is SpanKind.CONSUMER
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "messaging.system": "supervisor",
        "messaging.operation.name": "handle",
        "messaging.operation.type": "process",
        "messaging.destination.name": "root/counter",
    }
    assert len(tracing.spans("handle Counter.Total")) == 1


async def test_a_span_is_linked_to_its_sender_and_no_child_of_it(tracing: Tracing) -> None:
    """The span begins a trace of its own, with a link to the span that was current when the message was sent."""
    async with tracing.running() as counter:
        with tracing.span("request") as request:
            await counter.ref.tell(Counter.Add(1))
            await counter.ref.ask(Counter.Total)
    sender = request.get_span_context()
    for span in (*tracing.spans("handle Counter.Add"), *tracing.spans("handle Counter.Total")):
        assert span.parent is None
        assert span.context.trace_id != sender.trace_id
        assert [link.context for link in span.links] == [sender]


async def test_a_sender_without_a_span_is_not_linked(tracing: Tracing) -> None:
    """A message from nowhere has a span without links."""
    async with tracing.running() as counter:
        await counter.ref.ask(Counter.Total)
    (span,) = tracing.spans("handle Counter.Total")
    assert not span.links


async def test_what_the_actor_does_meanwhile_is_part_of_the_span(tracing: Tracing) -> None:
    """A span that the actor opens while it handles a message is a child of the message's span."""
    async with tracing.running() as counter:
        await counter.ref.tell(Counter.Add(1))
        await counter.ref.ask(Counter.Total)
    (outer,), (inner,) = tracing.spans("handle Counter.Add"), tracing.spans("inner")
    assert inner.parent == outer.context


async def test_messages_do_not_pile_up_in_one_trace(tracing: Tracing) -> None:
    """Each message that an actor handles begins a trace of its own."""
    async with tracing.running() as counter:
        for _ in range(3):
            await counter.ref.tell(Counter.Add(1))
        await counter.ref.ask(Counter.Total)
    spans = tracing.spans("handle Counter.Add")
    assert len({span.context.trace_id for span in spans}) == 3


async def test_a_crash_is_an_error_of_the_span(tracing: Tracing, caplog: pytest.LogCaptureFixture) -> None:
    """The span of the message that an actor crashed over tells the error, and OpenTelemetry has no complaint."""
    with caplog.at_level(logging.WARNING, logger="opentelemetry"):
        async with tracing.running() as counter:
            await counter.ref.tell(Counter.Add(-1))
            await tracing.log.expect(ChildExited)
    (span,) = tracing.spans("handle Counter.Add")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "ValueError: cannot count down"
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]
    assert caplog.records == []


def test_the_senders_context_is_captured(tracing: Tracing) -> None:
    """What travels with a message is the context of the current span, or nothing."""
    assert tracing.tracer.capture() is None
    with tracing.span("request") as request:
        assert tracing.tracer.capture() == request.get_span_context()


def test_a_sender_that_is_not_recorded_is_not_captured() -> None:
    """A link to a span that nobody will ever see would lead nowhere."""
    tracing = Tracing(ALWAYS_OFF)
    with tracing.span("request") as request:
        assert request.get_span_context().is_valid
        assert tracing.tracer.capture() is None


def test_without_a_provider_nothing_is_recorded() -> None:
    """The API alone, without an SDK, handles messages and does nothing."""
    tracer = OtelMessageTracer()
    with tracer.handling("root/counter", Counter.Add(1), tracer.capture()) as span:
        assert not span.is_recording()


def test_the_former_span_is_current_again(tracing: Tracing) -> None:
    """After the handling the context is as it was before."""
    with tracing.span("outside") as outside:
        with tracing.tracer.handling("root/counter", Counter.Add(1), None) as span:
            assert get_current_span() is span
        assert get_current_span() is outside


def test_a_span_left_open_by_the_actor_does_not_stay(tracing: Tracing) -> None:
    """What the actor made current and forgot is gone with the message."""
    handling = tracing.tracer.handling("root/counter", Counter.Add(1), None)
    handling.__enter__()
    use_span(tracing.provider.get_tracer("test").start_span("forgotten")).__enter__()
    handling.__exit__(None, None, None)
    assert get_current_span() is INVALID_SPAN


def test_a_handling_may_end_in_another_context(tracing: Tracing, caplog: pytest.LogCaptureFixture) -> None:
    """A crash is recorded when the task is over already, in a context that is left as it is."""
    handling = tracing.tracer.handling("root/counter", Counter.Add(1), None)
    copies = [contextvars.copy_context(), contextvars.copy_context()]
    copies[0].run(handling.__enter__)
    copies[1].run(handling.__exit__, None, None, None)
    copies[0].copy().run(handling.__exit__, None, None, None)
    assert [record for record in caplog.records if "detach" in record.message] == []
    assert len(tracing.spans("handle Counter.Add")) == 1


def test_a_local_type_is_named_without_its_function(tracing: Tracing) -> None:
    """The name of a span stays readable for a message type that is defined in a function."""

    @dataclass(frozen=True)
    class Tick:
        pass

    with tracing.tracer.handling("root/counter", Tick(), None):
        pass
    assert len(tracing.spans("handle Tick")) == 1


def test_a_sampler_sees_the_link() -> None:
    """The link is there from the start, so that a sampler can follow the sender's decision."""
    sampler = _Noting()
    tracing = Tracing(sampler)
    sender = tracing.provider.get_tracer("test").start_span("request").get_span_context()
    with tracing.tracer.handling("root/counter", Counter.Add(1), sender):
        pass
    assert sampler.seen[-1] == [sender]


class _Noting(Sampler):
    """Samples everything, and notes the links it was shown."""

    def __init__(self) -> None:
        self.seen: list[list[SpanContext]] = []

    def should_sample(  # noqa: PLR0913, PLR0917 - the interface of OpenTelemetry
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: object = None,
        trace_state: object = None,
    ) -> SamplingResult:
        given: list[Link] = list(links) if isinstance(links, list | tuple) else []
        self.seen.append([link.context for link in given])
        return ALWAYS_ON.should_sample(parent_context, trace_id, name, kind, attributes)

    def get_description(self) -> str:
        return "noting"
