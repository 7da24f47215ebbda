"""The span of one run of a job, at a price that a queue of no-ops can pay: 1 to 2 µs for a run that is not sampled.

To be imported only where a tracer is set up (see `job_spans.job_tracer`): OpenTelemetry takes 30 ms to load.
"""

from __future__ import annotations

import copy
import random
import re
import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, final

from opentelemetry.context import Context, attach
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from supervisor.telemetry.job_spans import NOTHING, SYSTEM, enter, leave, mark

if TYPE_CHECKING:
    import contextvars
    from contextlib import AbstractContextManager
    from types import TracebackType

    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

_W3C: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_FAILED: Final = frozenset({"failed", "retry"})
_ROOT: Final = Context()
_ODDS: Final = (1 << 64) - 1
_RANDOM: Final = TraceFlags(TraceFlags.RANDOM_TRACE_ID)


@final
class JobTracer:
    """Follows the runs of jobs. Made by `job_spans.job_tracer`."""

    __slots__ = ("_ids", "_limit", "_starter", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = self._starter = tracer
        self._ids = _GivenIds()
        self._limit = _limit_of(getattr(tracer, "sampler", None)) if hasattr(tracer, "id_generator") else None
        if self._limit is not None:
            self._starter = copy.copy(tracer)
            vars(self._starter)["id_generator"] = self._ids

    def start(  # noqa: PLR0913, PLR0917 - what is told of a run; keywords would cost a tenth of it
        self, job_id: int, kind: str, queue: str, attempt: int, tenant: str | None, trace_parent: str | None
    ) -> JobSpan:
        """Begin the span of one run: the root of a trace, with a link to `trace_parent`, the text in the job's row.

        A text that is malformed is ignored. A run that is not sampled has a span all the same, which records nothing
        and keeps what its handler calls from being sampled.
        """
        if self._limit is not None:
            # What the sampler would do, without what leads up to it, which costs three times the rest of this.
            trace_id = self._ids.next_trace = random.getrandbits(128) or 1
            if trace_id & _ODDS >= self._limit:
                unseen = SpanContext(trace_id, random.getrandbits(64) or 1, False, _RANDOM)  # noqa: FBT003 - theirs
                return JobSpan(None, NonRecordingSpan(unseen))
        attributes: dict[str, AttributeValue] = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": str(job_id),
            "supervisor.job.kind": kind,
            "supervisor.job.attempt": attempt,
        }
        if tenant is not None:
            attributes["supervisor.job.tenant"] = tenant
        creator = None if trace_parent is None else _parsed(trace_parent)
        span = self._starter.start_span(
            f"process {queue}",
            context=_ROOT,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            # A sampler sees only the links that are there at the start.
            links=None if creator is None else [Link(creator)],
        )
        return JobSpan(self._tracer if span.is_recording() else None, span)


@final
class JobSpan:
    """The span of one run; `end` is to be called once."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: Tracer | None, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def context(self) -> contextvars.Context:
        """Copy the current context, with this span as the current one: for `create_task(…, context=…)`, or `run`."""
        context = copy_context()
        context.run(attach, set_span_in_context(self._span, _ROOT))
        return context

    def step_span(self, name: str) -> AbstractContextManager[object]:
        """Wrap a step: the child of whatever span is current in the handler. An error that passes through marks it."""
        return NOTHING if self._tracer is None else _Step(self._tracer.start_span(f"step {name}"))

    def end(self, error: BaseException | None = None, outcome: str | None = None) -> None:
        """End the span. `outcome` is what becomes of the job, by default `completed`, or `failed` if there is an error.

        Only a run that failed is marked as such, and not one that was snoozed, discarded or interrupted.
        """
        if self._tracer is None:
            return
        outcome = outcome or ("completed" if error is None else "failed")
        self._span.set_attribute("supervisor.job.outcome", outcome)
        if error is not None and outcome in _FAILED:
            mark(self._span, error)
        self._span.end()


@final
class _Step:
    """The span of a step; current inside its block."""

    __slots__ = ("_before", "_inside", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._before, self._inside = enter(self._span)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._span, self._before, self._inside, error)


@final
class _GivenIds:
    """An id generator of the SDK that gives a trace the id about which was decided already."""

    __slots__ = ("next_trace",)

    def __init__(self) -> None:
        self.next_trace = 1

    def generate_trace_id(self) -> int:
        """Give the id that was chosen."""
        return self.next_trace

    def generate_span_id(self) -> int:
        """Give a random id."""
        return random.getrandbits(64) or 1

    def is_trace_id_random(self) -> bool:
        """Say so in the flags."""
        return True


def _limit_of(sampler: object) -> int | None:
    """Return below which 64 low bits of its trace id a root is sampled; None if that is not how it is decided.

    Only for the SDK's own classes, which look at nothing else: anybody else's may look at attributes and links.
    """
    if "opentelemetry.sdk.trace.sampling" not in sys.modules:
        return None
    from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415 - the SDK need not be installed
        ALWAYS_OFF,
        ParentBased,
        ParentBasedTraceIdRatio,
        TraceIdRatioBased,
    )

    if type(sampler) in {ParentBased, ParentBasedTraceIdRatio}:
        return _limit_of(getattr(sampler, "_root", None))
    if isinstance(sampler, TraceIdRatioBased) and type(sampler) is TraceIdRatioBased:
        return sampler.bound
    return 0 if sampler is ALWAYS_OFF else None


def _parsed(text: str) -> SpanContext | None:
    found = _W3C.fullmatch(text)
    if found is None or (text.startswith("00") and len(text) != len("00-") + 32 + 1 + 16 + 3):
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
