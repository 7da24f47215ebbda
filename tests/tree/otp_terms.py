"""What the reference model of OTP's supervisor speaks of: restart types, strategies, children and their limits."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Policy(enum.Enum):
    """OTP's restart types."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Group(enum.Enum):
    """OTP's restart strategies."""

    ONE = "one_for_one"
    ALL = "one_for_all"
    REST = "rest_for_one"


class Exit(enum.Enum):
    """How a child ends by itself."""

    NORMAL = "normal"
    CRASH = "crash"


class Attempt(enum.Enum):
    """What comes of a start."""

    RUNS = "runs"
    FAILS = "fails"
    IGNORES = "ignores"


@dataclass(frozen=True)
class Kind:
    """What a child is like: its restart type, and how long it takes to start and to stop."""

    policy: Policy
    start_takes: float
    stop_takes: float


@dataclass(eq=False)
class Member:
    """A child as the supervisor's state has it."""

    name: str
    kind: Kind
    process: int = 0
    """Counts its processes, as OTP tells them apart by pid."""
    up: bool = False
    stopping: bool = False
    exit: Exit | None = None
    """How it died, while the supervisor has not dealt with that."""
    due: tuple[float, int] | None = None
    """When its backoff ends."""
    turn: int = 0
    """Which of its backoffs counts: OTP's `restarting`. One that was called off means nothing."""
    leader: Member | None = None
    """Whose backoff it waits for; its own if it is the one that failed."""
    held: bool = False
    failures: int = 0
    since: float = 0.0
    died: float = 0.0

    @property
    def running(self) -> bool:
        """Whether its process is alive and nobody has asked it to end."""
        return self.up and self.exit is None and not self.stopping


@dataclass(frozen=True)
class Limits:
    """The supervisor's flags, and the backoff of every child."""

    intensity: int
    period: float
    first: float
    cap: float
    healthy_after: float
