"""Says whether tenants' jobs may be claimed in one order, which is cheaper than turns: while all get their share so.

Each claim in order is counted for its tenant. At each look for tenants with jobs, what each got is held against what it
should have, by more than chance can explain. The counts go on until they say something, so that no rate is too uneven
to be seen, and a look at a quiet moment accuses nobody.
"""

from __future__ import annotations

import math
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROVES: Final = 20.0
"""Jobs for each tenant, on average, that prove that shares are fair: below 16 nobody can have got too few."""

PATIENCE: Final = 2.0
"""Seconds for such a proof; where jobs are claimed too slowly for it turns are cheap enough, and fair at once."""

FIRST: Final = 2.0
"""Seconds of turns after the first time that the order proved unfair; twice as many after each further time."""

MOST: Final = 60.0
"""Seconds of turns at most."""

LASTS: Final = 10.0
"""Seconds after which the order has worked, so that the next time is the first again."""


class Verdict(Enum):
    """What the counts say."""

    FAIR = "fair"
    UNFAIR = "unfair"
    UNKNOWN = "unknown"


def judge(got: Mapping[str, int], ready: Mapping[str, float], weight: Callable[[str], float]) -> Verdict:
    """Judge what each tenant got. `ready`: those that have jobs now, with their weights; `weight`: of any other.

    By chance a count of e is off by some √e; so more than 2 e + 4 √e + 4, or less than e/2 - 2 √e, is not chance.
    """
    weights = {name: weight(name) for name in got}
    weights.update(ready)
    if len(weights) < 2:  # noqa: PLR2004 - one alone takes from nobody
        return Verdict.UNKNOWN
    total = sum(got.values())
    each = total / sum(weights.values())
    for name, count in got.items():
        fair = each * weights[name]
        if count > 2 * fair + 4 * math.sqrt(fair) + 4:
            return Verdict.UNFAIR
    for name, own in ready.items():
        fair = each * own
        if got.get(name, 0) < fair / 2 - 2 * math.sqrt(fair):
            return Verdict.UNFAIR
    return Verdict.FAIR if total >= PROVES * len(weights) else Verdict.UNKNOWN


class Fairness:
    """Which way to claim now. Times are readings of one clock, in seconds.

    in_order: in one order, else by turns. got: jobs of each tenant since the last verdict.
    """

    __slots__ = ("_began", "_pause", "_since", "_try_at", "got", "in_order")

    def __init__(self) -> None:
        self.in_order = False
        self.got = Counter[str]()
        self._since = math.inf  # when the first of them was claimed
        self._began = self._try_at = -math.inf
        self._pause = FIRST

    def claimed(self, tenants: Iterable[str | None], now: float) -> None:
        """Count claimed jobs, of these tenants."""
        self.got.update(name for name in tenants if name is not None)
        if self.got:
            self._since = min(self._since, now)

    def settled(self) -> None:
        """Nobody waits: all that could be claimed was, or what was claimed is judged."""
        self.got.clear()
        self._since = math.inf

    def has_to_end(self, ready: Mapping[str, float], weight: Callable[[str], float], now: float) -> bool:
        """While in order: judge, as `judge` does; say whether turns begin now."""
        match judge(self.got, ready, weight):
            case Verdict.UNFAIR:
                if now - self._began >= LASTS:
                    self._pause = FIRST
                self._end(now + self._pause)
                self._pause = min(2 * self._pause, MOST)
            case Verdict.FAIR:
                self.settled()
            case Verdict.UNKNOWN if now - self._since > PATIENCE and len(self.got.keys() | ready.keys()) > 1:
                self._end(now + FIRST)
            case Verdict.UNKNOWN:
                pass
        return not self.in_order

    def may_begin(self, tenants: int, now: float) -> bool:
        """While by turns: say whether to claim in order from now; so many tenants have jobs."""
        if now < self._try_at:
            return False
        fast = self.got.total() >= PROVES * tenants * max(0.0, now - self._since) / PATIENCE
        self.settled()
        if fast:
            self.in_order = True
            self._began = now
        return fast

    def _end(self, try_at: float) -> None:
        self.in_order = False
        self._try_at = try_at
