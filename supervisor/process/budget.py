"""Derive every deadline of a shutdown from the one number that is configured, its total.

Only the total is a setting, because the platform fixes it (Kubernetes sends SIGKILL 30 s after SIGTERM, systemd
after TimeoutStopSec). Counted from the first stop signal, with the default total of 25 s:

| until | what may still happen                                                  |
|-------|------------------------------------------------------------------------|
| 18    | running work finishes by itself                                        |
| 25    | the rest is cancelled, then killed; leases released; everything closed |
| 28    | nothing: the dead-man timer ends the process                           |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from supervisor.errors import ConfigError

RESERVE: Final = 7.0
"""Kept back for what follows the drain: cancel 2.0, kill 0.2, release leases 1.3, stop the rest 1.0,
flush telemetry 1.5, close the pool 1.0."""
COLLAPSE: Final = 2.0
"""What is left of the drain after a second stop signal."""
OVERRUN: Final = 3.0
"""How long after the total the dead-man timer fires; with 25 s still 2 s ahead of Kubernetes' SIGKILL."""
LEAST_TOTAL: Final = 10.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The deadlines of one shutdown, in seconds since the first stop signal.

    Raises `ConfigError` when `total` is below 10 s or not a finite number.
    """

    total: float

    def __post_init__(self) -> None:
        """Refuse a total that leaves no time to drain."""
        if not (math.isfinite(self.total) and self.total >= LEAST_TOTAL):
            raise ConfigError(
                f"shutdown_timeout = {self.total:g} cannot work: {RESERVE:g} s are needed to cancel, release leases"
                f" and close, which leaves less than {LEAST_TOTAL - RESERVE:g} s for running work to finish;"
                f" set {LEAST_TOTAL:g} s or more (25 s suits Kubernetes' 30 s)"
            )

    @property
    def reserve(self) -> float:
        """Seconds that the drain must leave for the phases after it."""
        return RESERVE

    @property
    def drain(self) -> float:
        """When running work must have finished by itself; after that it is cancelled."""
        return self.total - RESERVE

    @property
    def end(self) -> float:
        """The absolute end by which the whole tree must have stopped; it cuts every limit below the root."""
        return self.total

    @property
    def hard(self) -> float:
        """When the dead-man timer ends the process, whatever it is doing."""
        return self.total + OVERRUN

    @property
    def collapse(self) -> float:
        """Seconds from a *second* stop signal to the end of every drain still going on."""
        return COLLAPSE
