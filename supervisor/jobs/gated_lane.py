"""Claims jobs that need a permit of some limit to start.

A call looks at some lines behind a queue's gates, and the next goes on behind them. When all were looked at, the lane
is asked again as soon as one may open: after the time that the database says, and sooner where jobs were started just
now, since the end of one may give another its permit and nobody tells us of that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from supervisor.store import gates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.jobs.switches import Switches
    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link

SHARE: Final = 0.1
"""The part of the time that calls may take which find nothing to start."""

SOONEST: Final = 0.005
"""Seconds until the next call at least, once every line was looked at."""


class GatedLane:
    """The jobs behind the gates of one queue, and the kinds that are claimed from it together; a Lane.

    dry: every line was looked at, and none gave as many jobs as there was room for; also where there are no gates.
    """

    __slots__ = (
        "_after",
        "_earliest",
        "_pause",
        "_switches",
        "_wait",
        "again_at",
        "dry",
        "kinds",
        "looked",
        "queue",
        "threaded",
    )

    def __init__(self, queue: str, kinds: Sequence[str], switches: Switches, *, threaded: bool = False) -> None:
        self.queue = queue
        self.kinds = kinds
        self.threaded = threaded
        self.dry = False
        self.again_at = self.looked = self._earliest = -math.inf
        self._switches = switches
        self._after: str | None = None  # where the next call goes on
        self._wait = math.inf  # seconds until the first line opens, of those seen since the first
        self._pause = SOONEST

    def hint(self) -> None:
        """A job may have come, or a line may be open: ask as soon as that is not too dear."""
        self.again_at = min(self.again_at, self._earliest)
        self.dry = False

    async def claim(self, link: Link, worker: int, room: int, clock: Callable[[], float]) -> list[ClaimedJob]:
        """Claim up to `room` jobs. Raises LeaseLost, DatabaseUnavailable."""
        sent = clock()
        if not self._switches.now.has_gates:
            self.dry, self.looked, self.again_at = True, sent, math.inf
            return []
        if sent < self.again_at:
            self.dry = True
            return []
        found = await gates.claim_gated(link, worker, self.queue, self.kinds, room, self._after)
        now = self.looked = clock()
        self._after = found.go_on
        if found.wait is not None:
            self._wait = min(self._wait, found.wait)
        if found.jobs:
            self._pause = SOONEST
        self._earliest = now + (now - sent) / SHARE
        if found.go_on is None:
            self._swept(now, full=len(found.jobs) >= room)
        else:
            self.dry, self.again_at = False, now
        return found.jobs

    def _swept(self, now: float, *, full: bool) -> None:
        """Every line was looked at: say when to begin again."""
        self.dry = not full
        if full:
            self.again_at = now
        elif self._wait == math.inf:
            self.again_at = math.inf
        else:
            self.again_at = max(now + min(max(self._wait, SOONEST), self._pause), self._earliest)
            self._pause *= 2
        self._wait = math.inf
