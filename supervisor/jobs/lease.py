"""What a process knows of its right to run jobs: whose jobs, and until when it can prove it."""

from __future__ import annotations

import math
import time
from typing import Final

MARGIN: Final = 0.15
"""The part of a lease that is given up for clocks that drift and timers that are late."""


def now() -> float:
    """Return seconds that also pass while the machine is suspended, which a monotonic clock may not count."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """The lease of this process's worker. Written by one thread, read by any: each field is replaced as a whole.

    worker: the id of the worker's row, 0 before it is registered. trusted_until: the reading of `now()` up to which
    nobody else can have been given this worker's jobs. lapses: how often it was renewed too late: handlers have been
    cancelled meanwhile, whose jobs may still be this worker's.
    """

    __slots__ = ("lapses", "trusted_until", "worker")

    def __init__(self) -> None:
        self.worker = 0
        self.trusted_until = -math.inf
        self.lapses = 0

    @property
    def is_held(self) -> bool:
        """Whether this process may start jobs, and let them run, at this moment."""
        return now() < self.trusted_until

    def renew(self, sent_at: float, seconds: float) -> None:
        """Trust a lease of `seconds` that the database gave in answer to what was sent at `sent_at` (of `now()`)."""
        if not self.is_held:
            self.lapses += 1
        self.trusted_until = sent_at + seconds * (1 - MARGIN)

    def lose(self) -> None:
        """Trust it no longer."""
        self.trusted_until = -math.inf
