"""How long a child waits before its next start, and when its past is forgiven."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays with jitter: `first`, `first × factor`, … up to `cap` seconds.

    `jitter` 0.2 means ±20 %. A child that stayed up for `healthy_after` seconds starts over.
    """

    first: float = 0.1
    factor: float = 2.0
    cap: float = 5.0
    jitter: float = 0.2
    healthy_after: float = 30.0

    def __post_init__(self) -> None:
        for name in ("first", "cap", "healthy_after"):
            value: float = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"Backoff({name}={value}): must be a finite number of seconds, 0 or more")
        if not 1 <= self.factor < math.inf:
            raise ConfigError(f"Backoff(factor={self.factor}): must be 1 or more, or delays would shrink")
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"Backoff(jitter={self.jitter}): a fraction, 0 or more and below 1")

    def delay(self, failures: int) -> float:
        """Seconds before the next start after `failures` failures in a row (1 or more), without jitter."""
        if self.first == 0:
            return 0.0
        # The exponent is bounded, so that a child that fails for a year cannot overflow a float.
        exponent = min(failures - 1, 1000 if self.factor == 1 else math.ceil(math.log(1e9, self.factor)))
        return float(min(self.cap, self.first * self.factor**exponent))

    def jittered(self, failures: int, random: random.Random) -> float:
        """Like `delay`, with jitter."""
        return self.delay(failures) * (1 + self.jitter * (2 * random.random() - 1))

    def longest(self, failures: int) -> float:
        """The most seconds that the first `failures` delays can take together."""
        total = 0.0
        for number in range(1, failures + 1):
            delay = self.delay(number)
            if delay == self.delay(number + 1):
                # From here on they are all the same.
                total += delay * (failures - number + 1)
                break
            total += delay
        return total * (1 + self.jitter)
