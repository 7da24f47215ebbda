"""Where the next claim from one queue looks: behind the last job claimed, and every so often from the start again.

A claim that begins at the start walks over whatever lies there already ended and not yet cleaned away, which under an
old snapshot is everything. A claim behind the cursor does not, but misses jobs that came in before it: better ones,
and those that were handed back. So it looks from the start every RESCAN seconds, and at once when there is reason to,
but never so often that this takes more than SHARE of the time.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import Cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.job_rows import ClaimedJob

RESCAN: Final = 0.25
"""Seconds between two claims from the start while there is more than can be claimed."""

SHARE: Final = 0.05
"""The part of the time that claims from the start may take beyond what they would take behind the cursor."""

LONGEST: Final = 5.0
"""Seconds between two claims from the start at most, however long they take."""

_FIXED: Final = 20
"""How many rows take as long as a claim of none."""

_place: Final = itemgetter(12, 13, 0)  # priority, run_at, id


class ClaimLane:
    """One queue, and the kinds that are claimed from it together. Times are readings of one clock.

    threaded: its jobs need a thread each. dry: the last claim, at `looked`, left nothing there as far as it
    could see.
    """

    __slots__ = (
        "_cursor",
        "_earliest",
        "_from_start",
        "_rescan_at",
        "_usual",
        "dry",
        "kinds",
        "looked",
        "queue",
        "threaded",
    )

    def __init__(self, queue: str, kinds: Sequence[str], *, threaded: bool = False) -> None:
        self.queue = queue
        self.kinds = kinds
        self.threaded = threaded
        self.dry = False
        self._cursor: Cursor | None = None
        self._from_start = True
        self._usual: float | None = None  # seconds for each row behind the cursor
        self._earliest = self._rescan_at = self.looked = -math.inf

    def next(self, now: float) -> Cursor | None:
        """Return the cursor for a claim that is sent now; None: from the start."""
        self._from_start = self._cursor is None or now >= self._rescan_at
        return None if self._from_start else self._cursor

    def hint(self) -> None:
        """There may be jobs before the cursor: look from the start as soon as that is not too dear."""
        self._rescan_at = min(self._rescan_at, self._earliest)
        self.dry = False

    def claimed(self, rows: Sequence[ClaimedJob], asked: int, sent: float, now: float) -> None:
        """Take note of the answer, at `now`, to the claim of `asked` jobs that was sent at `sent`."""
        short = len(rows) < asked
        self.looked = now
        weight = len(rows) + _FIXED
        if self._from_start:
            extra = 0.0 if self._usual is None else max(0.0, now - sent - self._usual * weight)
            self._earliest = now + min(extra / SHARE, LONGEST)
            self._rescan_at = max(self._earliest, now + RESCAN)
        else:
            each = (now - sent) / weight
            self._usual = each if self._usual is None else self._usual + (each - self._usual) / 8
        if rows:
            last = Cursor(*max(map(_place, rows)))
            # From the start there may be more right behind these; a short answer has shown that there is not.
            self._cursor = last if self._cursor is None or not short else max(last, self._cursor)
        if short and not self._from_start:
            self.hint()
            self.dry = now < self._rescan_at
        else:
            self.dry = short
