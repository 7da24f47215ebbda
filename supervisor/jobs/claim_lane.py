"""Where the next claim from one queue looks: behind the last job claimed, and every so often from the start again.

A claim that begins at the start walks over whatever lies there already ended and not yet cleaned away, which under an
old snapshot is everything. A claim behind the cursor does not, but misses jobs that came in before it: better ones,
and those that were handed back. So it looks from the start every RESCAN seconds, and at once when there is reason to,
but never so often that this takes more than SHARE of the time.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Protocol

from supervisor.store import jobs
from supervisor.store.job_rows import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link

RESCAN: Final = 0.25
"""Seconds between two claims from the start while there is more than can be claimed."""

SHARE: Final = 0.05
"""The part of the time that claims from the start may take beyond what they would take behind the cursor."""

LONGEST: Final = 5.0
"""Seconds between two claims from the start at most, however long they take."""

_FIXED: Final = 20
"""How many rows take as long as a claim of none."""

place: Final = itemgetter(12, 13, 0)
"""The priority, run_at and id of a claimed job: where it stood in its queue."""


class Lane(Protocol):
    """Jobs of one queue that are claimed together. Times are readings of one clock, in seconds.

    threaded: its jobs need a thread each. dry: the last claim, at `looked`, left nothing there as far as it could see.
    again_at: when to ask again even so, if nothing else happens; infinity: when the worker polls.
    """

    queue: str
    threaded: bool
    dry: bool
    looked: float
    again_at: float

    def hint(self) -> None:
        """There may be jobs that the lane knows nothing of."""

    async def claim(self, link: Link, worker: int, room: int, clock: Callable[[], float]) -> list[ClaimedJob]:
        """Claim up to `room` jobs. Raises LeaseLost, DatabaseUnavailable."""
        ...


class Statement(Protocol):
    """Claims up to `most` jobs of a queue behind the cursor, as `jobs.claim`."""

    async def __call__(  # noqa: D102, PLR0913, PLR0917 - as there
        self, link: Link, worker: int, queue: str, kinds: Sequence[str], most: int, cursor: Cursor | None = None, /
    ) -> list[ClaimedJob]: ...


class ClaimLane:
    """The jobs in one queue, and the kinds that are claimed from it together; a Lane.

    claim: the statement that finds them; jobs without a tenant, unless it says otherwise.
    """

    __slots__ = (
        "_claim",
        "_cursor",
        "_earliest",
        "_from_start",
        "_rescan_at",
        "_usual",
        "again_at",
        "dry",
        "kinds",
        "looked",
        "queue",
        "threaded",
    )

    def __init__(
        self, queue: str, kinds: Sequence[str], *, threaded: bool = False, claim: Statement = jobs.claim
    ) -> None:
        self._claim = claim
        self.queue = queue
        self.kinds = kinds
        self.threaded = threaded
        self.dry = False
        self.again_at = math.inf
        self._cursor: Cursor | None = None
        self._from_start = True
        self._usual: float | None = None  # seconds for each row behind the cursor
        self._earliest = self._rescan_at = self.looked = -math.inf

    async def claim(self, link: Link, worker: int, room: int, clock: Callable[[], float]) -> list[ClaimedJob]:
        """Claim up to `room` jobs. Raises LeaseLost, DatabaseUnavailable."""
        sent = clock()
        rows = await self._claim(link, worker, self.queue, self.kinds, room, self.next(sent))
        self.claimed(rows, room, sent, clock())
        return rows

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
            last = Cursor(*max(map(place, rows)))
            # From the start there may be more right behind these; a short answer has shown that there is not.
            self._cursor = last if self._cursor is None or not short else max(last, self._cursor)
        if short and not self._from_start:
            self.hint()
            self.dry = now < self._rescan_at
        else:
            self.dry = short
