"""What happens among the processes of a fleet, as events of the tree: who runs a singleton, and in which version."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from supervisor.tree.events import Event


@dataclass(frozen=True, slots=True)
class WorkerStandsBy(Event):
    """Another process is the singleton that this one would be; `reason` names it. Said once, until this one is it."""

    singleton: str
    reason: str


@dataclass(frozen=True, slots=True)
class SingletonStandsBy(Event):
    """The actor runs in another process, as that with the id `worker`. Said once for each such process."""

    log_level: ClassVar[int] = logging.DEBUG  # it is so on every host but one

    singleton: str
    worker: int


@dataclass(frozen=True, slots=True)
class SingletonTaken(Event):
    """The actor runs here from now on, with this fence."""

    singleton: str
    fence: int


@dataclass(frozen=True, slots=True)
class SingletonEnded(Event):
    """The actor has ended here, so that it may run elsewhere."""

    singleton: str
    fence: int


@dataclass(frozen=True, slots=True)
class SingletonRevoked(Event):
    """This process can no longer prove that it alone runs the actor, and has told it to stop."""

    log_level: ClassVar[int] = logging.WARNING

    singleton: str
    fence: int


@dataclass(frozen=True, slots=True)
class VersionDrift(Event):
    """Workers of several `versions` run at the same time; said once for each such mixture, also when it is over."""

    versions: tuple[str, ...]

    @property
    def log_level(self) -> int:
        """One version is as it should be."""
        return logging.WARNING if len(self.versions) > 1 else logging.INFO
