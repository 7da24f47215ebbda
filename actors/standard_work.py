"""Wires what claims, runs and writes jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.claimer import Claimer
from actors.completer import Completer
from actors.executor import Executor
from actors.parts import child
from actors.suspect_claimer import SuspectClaimer
from actors.until_empty import UntilEmpty

if TYPE_CHECKING:
    from actors.parts import Parts
    from supervisor.tree.child import Child

HANDLER_GRACE: Final = 1.5
"""Seconds between the cancel of the last handlers and giving them up, when the process stops."""


def completer(parts: Parts) -> Child[Any]:
    """Writes what ended."""
    return child(
        "completer",
        lambda: Completer(parts.database, parts.outbox, parts.steps, parts.wakes, parts.hooks),
        stop=2.5,
        cancel=0.5,
    )


def executor(parts: Parts) -> Child[Any]:
    """Ends handlers in time."""
    return child(
        "executor",
        lambda: Executor(
            parts.database, parts.lease, parts.handlers, heartbeat=parts.config.heartbeat, grace=HANDLER_GRACE
        ),
        stop=parts.config.drain_timeout,
        cancel=0.3,
        teardown=HANDLER_GRACE + 0.5,
    )


def claimer(parts: Parts) -> Child[Any]:
    """Claims for free slots."""

    def make() -> Claimer:
        return Claimer(
            parts.database,
            parts.lease,
            parts.slots,
            parts.handlers,
            parts.outbox,
            parts.wakes,
            queues=parts.queues,
            switches=parts.switches,
            pressure=parts.pressure,
            poll=parts.config.poll,
            idle_poll=parts.config.idle_poll,
        )

    return child("claimer", make, stop=0.5, cancel=0.3, teardown=0.5)


def suspect_claimer(parts: Parts) -> Child[Any]:
    """Claims suspects, in their own process."""

    def make() -> SuspectClaimer:
        return SuspectClaimer(
            parts.database,
            parts.lease,
            parts.slots,
            parts.handlers,
            parts.outbox,
            switches=parts.switches,
            queues=parts.queues,
            kinds=parts.kinds,
            max_losses=parts.config.max_losses,
        )

    return child("claimer", make, stop=0.5, cancel=0.3, teardown=0.5)


def until_empty(parts: Parts) -> Child[Any]:
    """Ends the process when nothing is left."""

    def make() -> UntilEmpty:
        return UntilEmpty(
            parts.database,
            parts.slots,
            parts.outbox,
            queues=parts.queues,
            kinds=parts.kinds,
            suspects=parts.config.quarantine,
        )

    return child("until_empty", make, stop=0.1, cancel=0.2)
