"""One short span for each handled message, linked to the span of its sender.

Never a child of it: a sender does not wait for its message to be handled, and an actor that runs for
weeks would be one endless trace. Needs the OpenTelemetry API only; without an SDK nothing is recorded.
To be imported only where messages are traced: the API takes 30 ms to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from opentelemetry.context import Context, attach, create_key, get_current, get_value, set_value
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.trace import Span, Tracer, TracerProvider

_INNERMOST: Final = create_key("supervisor-handling")
_NO_PARENT: Final = Context()


class OtelMessageTracer:
    """Follows messages with OpenTelemetry: the `MessageTracer` of a process that has `trace_messages` on.

    A span is called `handle <type of the message>`; its attributes follow the semantic conventions
    for messaging. It tells the actor's path, and never the message. `provider` is the global one by default.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("supervisor", tracer_provider=provider)

    def capture(self) -> SpanContext | None:
        """Return the sender's span context; None if it has no span, or one that is not recorded."""
        context = get_current_span().get_span_context()
        return context if context.is_valid and context.trace_flags.sampled else None

    def handling(self, path: str, message: object, sender: object) -> Handling:
        """Return the span of one handled message, to be entered by the actor's task."""
        kind = type(message).__qualname__.rpartition("<locals>.")[2]
        return Handling(self._tracer, path, kind, sender if isinstance(sender, SpanContext) else None)


@final
class Handling:
    """The span from the receipt of a message to the next read, current meanwhile in the actor's task.

    It may be left in another context than it was entered in: when a crash is recorded, the task has
    ended already. So it puts the former context back only where it is itself in force, and never with
    the token, which OpenTelemetry would complain about.
    """

    __slots__ = ("_before", "_kind", "_path", "_sender", "_span", "_tracer")

    def __init__(self, tracer: Tracer, path: str, kind: str, sender: SpanContext | None) -> None:
        self._tracer = tracer
        self._path = path
        self._kind = kind
        self._sender = sender

    def __enter__(self) -> Span:
        attributes = {
            "messaging.system": "supervisor",
            "messaging.operation.name": "handle",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._path,
        }
        # A sampler sees only the links that are there at the start.
        self._span = self._tracer.start_span(
            f"handle {self._kind}",
            context=_NO_PARENT,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(self._sender)] if self._sender is not None else None,
        )
        self._before = get_current()
        attach(set_value(_INNERMOST, self, set_span_in_context(self._span)))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._span.is_recording():
            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
        self._span.end()
        if get_value(_INNERMOST) is self:
            attach(self._before)
