"""What happens in a tree, as frozen dataclasses through one hook; logs and telemetry are subscribers."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.tree.outcome import Outcome, Stage


class DeadLetterReason(enum.Enum):
    """Why a message reached nobody."""

    CLOSED = "closed"
    FULL = "full"
    CRASHED = "crashed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. `path` names the node: `root/shop/mailer`."""

    path: str


@dataclass(frozen=True, slots=True)
class ChildStarted(Event):
    """`setup` returned after `seconds`; `generation` counts the incarnations from 1."""

    generation: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ChildExited(Event):
    """An incarnation ended."""

    generation: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ChildRestarting(Event):
    """The supervisor will restart the child (and the siblings its strategy names) after `delay` seconds.

    `restarts` of at most `max_restarts` decisions now lie in the supervisor's window.
    """

    delay: float
    restarts: int
    max_restarts: int


@dataclass(frozen=True, slots=True)
class ChildStalled(Event):
    """The actor has been busy for `seconds` without progress; `stack` shows where it stands."""

    seconds: float
    stack: str


@dataclass(frozen=True, slots=True)
class StopStage(Event):
    """The stop of a child has entered this stage."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class ChildAbandoned(Event):
    """The child survived every stage; its task may still run. `stack` shows where it stands."""

    generation: int
    stack: str


@dataclass(frozen=True, slots=True)
class SupervisorGaveUp(Event):
    """More than `max_restarts` restarts within the window; `child` was the last to fail."""

    child: str
    max_restarts: int
    within: float


@dataclass(frozen=True, slots=True)
class AutoShutdownBegan(Event):
    """A supervisor ends normally, because its significant children have; `child` was the last."""

    child: str


@dataclass(frozen=True, slots=True)
class DeadLetter(Event):
    """A message to `path` reached nobody. `message` is for code; it is never written to a log."""

    reason: DeadLetterReason
    message: object


@dataclass(frozen=True, slots=True)
class ExitRequested(Event):
    """An actor asked the whole process to stop with `code`, and said why if it did."""

    code: int
    message: str | None = None
