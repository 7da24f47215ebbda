"""A run of a job is the root of a trace of its own, linked to the span that enqueued it, with its steps below it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from supervisor.telemetry.job_spans import job_tracer, sending, trace_parent
from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from supervisor.telemetry.run_spans import JobSpan

STORED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Tracing:
    """The runs of one kind of job, traced into memory."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.span = self.provider.get_tracer("test").start_as_current_span
        tracer = job_tracer(self.provider)
        assert tracer is not None
        self.tracer = tracer

    def start(self, trace_parent: str | None = None, tenant: str | None = None) -> JobSpan:
        return self.tracer.start(7, "charge_order", "orders", 2, tenant, trace_parent)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


class KindSampler(Sampler):
    """Samples by what it is told about a run."""

    def __init__(self) -> None:
        self.links: list[Link] = []

    def should_sample(  # noqa: PLR0913, PLR0917 - theirs
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: object = None,
    ) -> SamplingResult:
        self.links += links or ()
        wanted = (attributes or {}).get("supervisor.job.kind") == "charge_order"
        return SamplingResult(Decision.RECORD_AND_SAMPLE if wanted else Decision.DROP, attributes)

    def get_description(self) -> str:
        return "by kind"


@pytest.fixture
def tracing() -> Tracing:
    """Tracing of every run."""
    return Tracing()


def remote(*, sampled: bool) -> NonRecordingSpan:
    """A span of a caller elsewhere."""
    return NonRecordingSpan(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(int(sampled))))


# --- the row ----------------------------------------------------------------------------------------


def test_the_current_span_is_told_as_w3c_text(tracing: Tracing) -> None:
    """What is stored with a job names the current span, and any W3C reader finds that span in it."""
    with tracing.span("request") as request:
        text = trace_parent()
    assert text is not None
    read = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": text})).get_span_context()
    assert (read.trace_id, read.span_id) == (request.get_span_context().trace_id, request.get_span_context().span_id)
    assert read.trace_flags.sampled


def test_without_a_sampled_span_nothing_is_stored() -> None:
    """A job that is enqueued outside any span, or in one that nobody will see, has no parent to name."""
    assert trace_parent() is None
    with Tracing(ALWAYS_OFF).span("unseen"):
        assert trace_parent() is None


@pytest.mark.parametrize("sampled", [True, False])
def test_a_callers_span_counts_if_it_is_sampled(sampled: bool) -> None:
    """A span that arrived from elsewhere is named too, provided that somebody records it."""
    with use_span(remote(sampled=sampled)):
        assert trace_parent() == ("00-" + "5".zfill(32) + "-" + "6".zfill(16) + "-01" if sampled else None)


def test_nothing_loads_opentelemetry() -> None:
    """In a process without tracing the API is not even imported."""
    script = (
        "import sys; from supervisor.telemetry.job_spans import *\n"
        "assert trace_parent() is None and job_tracer() is None\n"
        "with sending('orders') as span: assert span is None\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=30).returncode == 0


def test_an_enqueue_inside_a_span_is_a_span_of_its_own(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span `send` is a child of the current one, and the one that the row names."""
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracing.provider)
    with tracing.span("request") as request:
        before = trace_parent()
        with sending("orders") as send:
            inside = trace_parent()
            assert send is not None
            send.sent(7)
        assert trace_parent() == before
    sent = tracing.spans["send orders"]
    assert sent.kind is SpanKind.PRODUCER
    assert sent.parent == request.get_span_context()
    assert sent.context is not None
    assert inside is not None
    assert inside.split("-")[2] == f"{sent.context.span_id:016x}"
    assert dict(sent.attributes or {}) == {
        "messaging.system": "supervisor",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
        "messaging.message.id": "7",
    }


def test_an_enqueue_of_many_says_how_many(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    """One span stands for the whole batch, and a failure marks it."""
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracing.provider)
    with tracing.span("request"), pytest.raises(ConnectionError), sending("orders", 500):
        raise ConnectionError("gone")
    sent = tracing.spans["send orders"]
    assert (sent.attributes or {})["messaging.batch.message_count"] == 500
    assert sent.status.status_code is StatusCode.ERROR


def test_an_enqueue_outside_any_span_has_none(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a current span there is no `send` either."""
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracing.provider)
    with sending("orders") as send:
        assert send is None
    assert not tracing.spans


# --- the run ----------------------------------------------------------------------------------------


def test_a_run_is_a_root_with_a_link(tracing: Tracing) -> None:
    """A run begins a trace of its own, linked to what the row names, even inside another span."""
    with tracing.span("executor"):
        tracing.start(STORED, tenant="acme").end()
    run = tracing.spans["process orders"]
    assert run.parent is None
    assert run.kind is SpanKind.CONSUMER
    assert run.status.status_code is StatusCode.UNSET
    (link,) = run.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == tuple(STORED.split("-")[1:3])
    assert dict(run.attributes or {}) == {
        "messaging.system": "supervisor",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.message.id": "7",
        "supervisor.job.kind": "charge_order",
        "supervisor.job.attempt": 2,
        "supervisor.job.tenant": "acme",
        "supervisor.job.outcome": "completed",
    }


@pytest.mark.parametrize("text", [STORED[:-2] + "03", STORED.replace("00-", "01-", 1) + "-more"])
def test_a_later_version_is_read(tracing: Tracing, text: str) -> None:
    """Unknown flags, and what a later version of the format may append, do no harm."""
    tracing.start(text).end()
    assert len(tracing.spans["process orders"].links) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        STORED.upper(),
        STORED[:-1],
        STORED + "-more",
        STORED.replace("00-", "ff-", 1),
        STORED.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        STORED.replace("b7ad6b7169203331", "0" * 16),
        STORED.replace("b7ad6b7169203331", "b7ad6b716920333g"),
        STORED + "\n",
        STORED.replace("0af7", "\N{ARABIC-INDIC DIGIT ZERO}af7"),
    ],
)
def test_a_malformed_parent_is_ignored(tracing: Tracing, text: str) -> None:
    """Whatever stands in the row, the run has its span, without a link if the text is no W3C trace parent."""
    tracing.start(text).end()
    assert tracing.spans["process orders"].links == ()


def test_a_failed_run_says_why(tracing: Tracing) -> None:
    """The error and what becomes of the job stand in the span."""
    tracing.start().end(ConnectionError("the server hung up"), "retry")
    run = tracing.spans["process orders"]
    assert run.status.status_code is StatusCode.ERROR
    assert run.status.description == "ConnectionError: the server hung up"
    assert [event.name for event in run.events] == ["exception"]
    attributes = run.attributes or {}
    assert (attributes["error.type"], attributes["supervisor.job.outcome"]) == ("ConnectionError", "retry")


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (None, None, "completed"),
        (RuntimeError("later"), "snoozed", "snoozed"),
        (RuntimeError("no use"), "discarded", "discarded"),
        (asyncio.CancelledError(), "interrupted", "interrupted"),
    ],
)
def test_what_is_no_failure_is_not_marked(
    tracing: Tracing, error: BaseException | None, outcome: str | None, told: str
) -> None:
    """A handler that asked to go on later, or was interrupted by a stop, has done nothing wrong."""
    tracing.start().end(error, outcome)
    run = tracing.spans["process orders"]
    assert (run.attributes or {})["supervisor.job.outcome"] == told
    assert run.status.status_code is StatusCode.UNSET
    assert run.events == ()


async def test_steps_are_children_of_their_run(tracing: Tracing) -> None:
    """Two runs at once do not mix: each step, and each span of a handler, is in the trace of its own run."""

    async def handler(run: JobSpan, name: str) -> None:
        with run.step_span(name):
            await asyncio.sleep(0)
            with tracing.span(f"http {name}"):
                await asyncio.sleep(0)
        assert get_current_span().get_span_context().span_id != 0

    runs = [tracing.start(), tracing.start()]
    async with asyncio.TaskGroup() as group:
        for run, name in zip(runs, "ab", strict=True):
            group.create_task(handler(run, name), context=run.context())
    assert not get_current_span().get_span_context().is_valid
    for run in runs:
        run.end()
    for name in "ab":
        step, call = tracing.spans[f"step {name}"], tracing.spans[f"http {name}"]
        assert call.parent == step.context
        assert step.parent is not None
        assert step.kind is SpanKind.INTERNAL
    assert tracing.spans["step a"].parent != tracing.spans["step b"].parent


def test_a_failed_step_is_marked(tracing: Tracing) -> None:
    """An error that leaves a step passes through and marks its span."""
    run = tracing.start()

    def handler() -> None:
        with pytest.raises(ValueError, match="no"), run.step_span("charge"):
            raise ValueError("no")
        assert trace_parent() is not None

    run.context().run(handler)
    assert tracing.spans["step charge"].status.status_code is StatusCode.ERROR


# --- sampling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, DEFAULT_OFF, TraceIdRatioBased(0), ParentBased(TraceIdRatioBased(0))])
def test_a_run_that_is_not_sampled_takes_its_handler_with_it(sampler: Sampler) -> None:
    """Nothing is recorded below it either, and what it calls elsewhere is told that it is not sampled."""
    tracing = Tracing(sampler)
    told: dict[str, str] = {}

    def handler() -> None:
        outside = get_current_span().get_span_context()
        with run.step_span("charge"), tracing.span("http") as span:
            TraceContextTextMapPropagator().inject(told)
            assert span.get_span_context().trace_id == outside.trace_id
        assert trace_parent() is None

    run = tracing.start(STORED)
    run.context().run(handler)
    run.end(ValueError("no"), "failed")
    assert not tracing.spans
    assert int(told["traceparent"][-2:], 16) & TraceFlags.SAMPLED == 0


@pytest.mark.parametrize("sampler", [ALWAYS_ON, DEFAULT_ON, TraceIdRatioBased(1.0), ParentBased(TraceIdRatioBased(1))])
def test_a_run_that_is_sampled_is_recorded(sampler: Sampler) -> None:
    """Each of the usual samplers that wants everything gets everything."""
    tracing = Tracing(sampler)
    for _ in range(20):
        tracing.start().end()
    assert "process orders" in tracing.spans


def test_a_ratio_is_kept() -> None:
    """Of many runs as many are recorded as the sampler decides by their trace ids, and each has its own id."""
    tracing = Tracing(ParentBased(TraceIdRatioBased(0.25)))
    for _ in range(2_000):
        tracing.start().end()
    spans = tracing._exporter.get_finished_spans()
    ids = {span.context.trace_id for span in spans if span.context is not None}
    assert len(ids) == len(spans)
    assert 350 < len(spans) < 650  # 500 is expected, with a standard deviation of 19
    assert all(trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < TraceIdRatioBased(0.25).bound for trace_id in ids)


@pytest.mark.parametrize(("kind", "count"), [("charge_order", 1), ("other", 0)])
def test_a_sampler_of_ones_own_is_asked_with_everything(kind: str, count: int) -> None:
    """A sampler that decides by attributes and links gets them."""
    sampler = KindSampler()
    tracing = Tracing(sampler)
    tracing.tracer.start(7, kind, "orders", 1, None, STORED).end()
    assert len(tracing.spans) == count
    assert len(sampler.links) == 1


def test_a_disabled_sdk_has_no_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `OTEL_SDK_DISABLED` runs are not followed at all."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert job_tracer(TracerProvider(shutdown_on_exit=False)) is None
    assert job_tracer() is None
