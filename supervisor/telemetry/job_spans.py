"""Traces of jobs: what an enqueue leaves in the row, and one span for each run of the job, linked to it.

A run is never a child of the enqueue: it may come hours later, and again. It is the root of a trace of its own, with
a link to the span that created the job; steps are its children. Names and attributes follow OpenTelemetry's semantic
conventions for messaging. OpenTelemetry is used only where something else has loaded it: without it nothing here
costs more than a look into `sys.modules`.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

    from supervisor.telemetry.run_spans import JobSpan, JobTracer

API: Final = "opentelemetry.trace"
SYSTEM: Final = "supervisor"
NOTHING: Final = contextlib.nullcontext()


def trace_parent() -> str | None:
    """Return the current span as W3C `traceparent` text if it is sampled, else None: what a job's row should hold."""
    api = sys.modules.get(API)
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def sending(queue: str, count: int = 1) -> AbstractContextManager[Sending | None]:
    """Wrap an enqueue of `count` jobs in a span, if a sampled span is current; inside, ask for `trace_parent`."""
    return NOTHING if trace_parent() is None else Sending(queue, count)


def job_tracer(provider: TracerProvider | None = None) -> JobTracer | None:
    """Return what follows the runs of jobs, or None if no span would be recorded: no SDK set up, or disabled.

    `provider` is by default the global one, which must have been installed before this is called.
    """
    if provider is None and API not in sys.modules:
        return None
    from opentelemetry.trace import NoOpTracer, ProxyTracer, get_tracer  # noqa: PLC0415 - takes 30 ms

    from supervisor.telemetry.run_spans import JobTracer  # noqa: PLC0415 - the same

    tracer = get_tracer(SYSTEM, tracer_provider=provider)
    return None if isinstance(tracer, NoOpTracer | ProxyTracer) else JobTracer(tracer)


def step_span(run: JobSpan | None, name: str) -> AbstractContextManager[object]:
    """Wrap a step of a run in a span of its own, if the run has a span that records."""
    return NOTHING if run is None else run.step_span(name)


@final
class Sending:
    """The span of an enqueue; current inside its block."""

    __slots__ = ("_before", "_inside", "_span")

    def __init__(self, queue: str, count: int) -> None:
        from opentelemetry.trace import SpanKind, get_tracer  # noqa: PLC0415 - is loaded if we get here

        attributes: dict[str, str | int] = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": queue,
        }
        if count != 1:
            attributes["messaging.batch.message_count"] = count
        self._span: Span = get_tracer(SYSTEM).start_span(f"send {queue}", kind=SpanKind.PRODUCER, attributes=attributes)

    def sent(self, job_id: int) -> None:
        """Say which job was created."""
        self._span.set_attribute("messaging.message.id", str(job_id))

    def __enter__(self) -> Sending:
        self._before, self._inside = enter(self._span)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._span, self._before, self._inside, error)


def enter(span: Span) -> tuple[Context, Context]:
    """Make a span the current one; return the contexts before and inside, for `leave`."""
    from opentelemetry.context import attach, get_current  # noqa: PLC0415 - is loaded if we get here
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - the same

    before = get_current()
    inside = set_span_in_context(span, before)
    attach(inside)
    return before, inside


def leave(span: Span, before: Context, inside: Context, error: BaseException | None) -> None:
    """End a span and put the former context back, where its own is still in force.

    A generator or task that is thrown away is closed in another context than it ran in, where OpenTelemetry's tokens
    would be refused with a complaint in the log.
    """
    from opentelemetry.context import attach, get_current  # noqa: PLC0415 - is loaded if we get here

    if error is not None:
        mark(span, error)
    span.end()
    if get_current() is inside:
        attach(before)


def mark(span: Span, error: BaseException) -> None:
    """Say that what a span stands for has failed."""
    if span.is_recording():
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - is loaded if we get here

        span.set_attribute("error.type", type(error).__qualname__)
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
