"""What the main loop says of itself, for the thread that answers HTTP: it may be asked while that loop is blocked.

The main loop writes, any thread reads, and each attribute is replaced as a whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.snapshot import NodeSnapshot

STILL: Final = 2.0
"""Seconds without a turn after which the main loop counts as blocked."""
TICK: Final = 0.5
"""Seconds between two turns that are noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The process at one moment. `lease_until` is a reading of the board's clock.

    worker: the id of its row, 0 before it is registered. unwritten: runs that have ended and wait to be written.
    outage: whether its actors cannot reach the database. tree: None before there is one.
    """

    worker: int = 0
    lease_until: float = -math.inf
    draining: bool = False
    outage: bool = False
    slots: int = 0
    free: int = 0
    unwritten: int = 0
    epoch: int = 0
    tree: NodeSnapshot | None = None


class LiveBoard:
    """Where the main loop writes. `name`, `version` and `started_at` (Unix time) are those of the process."""

    __slots__ = ("name", "now", "shown", "started_at", "turned_at", "version")

    def __init__(self, now: Callable[[], float], *, name: str, version: str, started_at: float) -> None:
        self.now: Final = now
        self.name: Final = name
        self.version: Final = version
        self.started_at: Final = started_at
        self.shown = Live()
        self.turned_at = now()

    def turn(self) -> None:
        """Note that the main loop turns."""
        self.turned_at = self.now()

    @property
    def still_for(self) -> float:
        """For how many seconds the main loop has not turned."""
        return max(0.0, self.now() - self.turned_at)

    @property
    def is_blocked(self) -> bool:
        """Whether the main loop has not turned for so long that nothing of what it should do is done."""
        return self.still_for > STILL

    @property
    def holds_lease(self) -> bool:
        """Whether the process may start jobs at this moment."""
        return self.now() < self.shown.lease_until
