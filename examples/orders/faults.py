"""What goes wrong at the payment service, decided in advance: the same seed gives the same faults."""

from __future__ import annotations

import enum
import random
from collections import Counter
from dataclasses import dataclass


class Fault(enum.Enum):
    """What the service does to one request."""

    NONE = "none"
    ERROR = "error"
    """Answers 500 without doing anything."""

    SLOW = "slow"
    """Charges, and takes its time to say so: longer than most clients wait."""

    LOST = "lost"
    """Charges, and drops the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What will happen to a request, and after how many seconds it is answered."""

    fault: Fault
    seconds: float


class FaultPlan:
    """Decides by the seed, the order and how many requests there were for it, never by the clock."""

    def __init__(self, seed: int, errors: float = 0.03, slow: float = 0.02, lost: float = 0.01) -> None:
        self._seed = seed
        self._odds = ((Fault.ERROR, errors), (Fault.SLOW, slow), (Fault.LOST, lost))
        self._seen: Counter[str] = Counter()

    def next(self, order_id: str) -> Answer:
        """Decide about the next request for an order."""
        self._seen[order_id] += 1
        # The run, which stands behind the dot, has no part in it: each run meets the same faults.
        name = order_id.partition(".")[0]
        chance = random.Random(f"{self._seed}:{name}:{self._seen[order_id]}")  # noqa: S311 - chance, not secrets
        drawn, seconds = chance.random(), chance.uniform(0.005, 0.04)
        for fault, odds in self._odds:
            if drawn < odds:
                return Answer(fault, chance.uniform(0.5, 4.0) if fault is Fault.SLOW else seconds)
            drawn -= odds
        return Answer(Fault.NONE, seconds)
