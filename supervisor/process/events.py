"""What the process adds to the tree's events. `path` names the root, or the actor concerned."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from supervisor.tree.events import Event


@dataclass(frozen=True, slots=True)
class ProcessReady(Event):
    """The whole tree runs, `seconds` after it began to start.

    `stop_limit` is the longest that its stop could take by the limits of its children; if that is
    more than `shutdown_timeout`, some would be cut short.
    """

    seconds: float
    stop_limit: float
    shutdown_timeout: float


@dataclass(frozen=True, slots=True)
class ShutdownBegan(Event):
    """The process is going down, for `reason`; running work may finish for `drain` seconds."""

    reason: str
    drain: float


@dataclass(frozen=True, slots=True)
class ShutdownHurried(Event):
    """A second request came: drains end in `drain` seconds."""

    log_level: ClassVar[int] = logging.WARNING

    reason: str
    drain: float


@dataclass(frozen=True, slots=True)
class PhaseDone(Event):
    """A child of the root has stopped, `seconds` into the shutdown."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """The event loop did not turn for `seconds`; see `LoopBlock` in `watchdog`. Emitted by another thread."""

    seconds: float
    where: str | None
    stack: str
    ended: bool
    suspended: bool


@dataclass(frozen=True, slots=True)
class LeftBehind(Event):
    """At the end of the process these tasks or threads still ran."""

    log_level: ClassVar[int] = logging.ERROR

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessExit(Event):
    """The last event: the exit code, and what it means."""

    code: int
    meaning: str
