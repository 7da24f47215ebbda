"""Whether the database suffers, and so how much more seldom to ask it for what can wait.

Nothing that is ready to run waits for this: who is woken claims at once, and who has free slots and finds jobs goes on.
Only looks that mostly find nothing become rarer, and passes over whole tables.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 8.0
"""The largest factor."""

OLD_SNAPSHOT: Final = 60.0
"""Seconds; from then on a transaction that keeps many dead rows is a burden to every claim from the start."""

KEPT_ROWS: Final = 50_000
"""Dead rows below which an old transaction does no harm."""

DEAD_ROWS: Final = 2_000_000
"""Dead rows that autovacuum has not come round to: a minute's work of a queue that runs as fast as it can."""

SLOW_CLAIM: Final = 0.25
"""Seconds for a claim, on average; it takes a few milliseconds."""

EASED: Final = 0.7
"""The part of each of these at which it counts as over, so that it does not come and go."""


class Cause(enum.StrEnum):
    """What makes the database suffer."""

    OLD_SNAPSHOT = "old_snapshot"
    DEAD_ROWS = "dead_rows"
    SLOW_CLAIMS = "slow_claims"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured last: the age of the oldest transaction in seconds, dead rows, and seconds for a claim."""

    oldest_snapshot: float = 0.0
    dead_rows: float = 0.0
    claim: float = 0.0

    @property
    def ratios(self) -> dict[Cause, float]:
        """How near each is to where it hurts; from 1 on it does."""
        kept = self.dead_rows >= KEPT_ROWS
        return {
            Cause.OLD_SNAPSHOT: self.oldest_snapshot / OLD_SNAPSHOT if kept else 0.0,
            Cause.DEAD_ROWS: self.dead_rows / DEAD_ROWS,
            Cause.SLOW_CLAIMS: self.claim / SLOW_CLAIM,
        }


@dataclass(slots=True)
class Pressure:
    """Shared by the actors of one process. Whoever looks at the database regularly multiplies its pause by `factor`.

    factor: 1 while the database is well, up to MOST. causes: why it is more than that. ratios: see `Reading`.
    """

    factor: float = 1.0
    causes: tuple[Cause, ...] = ()
    ratios: dict[Cause, float] = field(default_factory=lambda: dict.fromkeys(Cause, 0.0))

    def judge(self, reading: Reading) -> bool:
        """Take note of what was measured; tells whether the causes are others now."""
        before = self.causes
        self.ratios = reading.ratios
        self.causes = tuple(
            cause for cause, ratio in self.ratios.items() if ratio >= (EASED if cause in before else 1.0)
        )
        worst = max((self.ratios[cause] for cause in self.causes), default=0.0)
        self.factor = min(MOST, max(1.0, 2 * worst)) if self.causes else 1.0
        return self.causes != before
