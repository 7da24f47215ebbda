"""The hook by which messages are traced; telemetry provides the tracer, and by default there is none.

A broken tracer must cost a span, never a message: whatever it raises is logged here and goes no further.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from supervisor.tree.mailbox import Envelope

_log = logging.getLogger(__name__)


class MessageTracer(Protocol):
    """Follows messages from sender to handler."""

    def capture(self) -> object:
        """Return the sender's context, to travel with the message."""

    def handling(self, path: str, message: object, sender: object) -> AbstractContextManager[object]:
        """Enter while the actor at `path` handles `message`; `sender` is what `capture` returned."""


def capture_sender(tracer: MessageTracer) -> object:
    """Return the sender's context, or None."""
    try:
        return tracer.capture()
    except Exception:  # noqa: BLE001 - whatever it is, it concerns the tracer alone
        _log.exception("the message tracer failed to capture a sender")
        return None


def enter_span(tracer: MessageTracer, path: str, envelope: Envelope) -> AbstractContextManager[object] | None:
    """Enter the span of a message, or return None."""
    try:
        span = tracer.handling(path, envelope.message, envelope.sender)
        span.__enter__()
    except Exception:  # noqa: BLE001 - whatever it is, it concerns the tracer alone
        _log.exception("the message tracer failed to begin a span")
        return None
    return span


def leave_span(span: AbstractContextManager[object], error: BaseException | None) -> None:
    """Leave the span of a message that was handled, or was not because of `error`."""
    try:
        if error is None:
            span.__exit__(None, None, None)
        else:
            span.__exit__(type(error), error, error.__traceback__)
    except Exception:  # noqa: BLE001 - whatever it is, it concerns the tracer alone
        _log.exception("the message tracer failed to end a span")
