"""Counts jobs where batches of them are claimed and written, so that each costs a fraction of a microsecond.

Of the times in a batch some are looked at, evenly chosen, and each stands for its neighbours: so the number of
observations is exact, and their spread is that of a sample.
"""

from __future__ import annotations

import time
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from supervisor.telemetry.tallies import Gauge, Histogram, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from typing import Protocol, TypeVar

    from supervisor.telemetry.tallies import Labels

    class Claimed(Protocol):
        """What is read of a claimed job."""

        @property
        def deadline_at(self) -> datetime:
            """When its lease of the job ends."""

        @property
        def run_at(self) -> datetime:
            """When it might run."""

        @property
        def timeout(self) -> float:
            """Seconds from its claim to its deadline."""

    T = TypeVar("T", bound=Claimed)


SAMPLE: Final = 8
"""Times that are looked at in one batch, for each queue or kind."""

CLAIMED: Final = Tally("supervisor_jobs_claimed", "Jobs that this process has claimed.", ("queue", "kind"))
ENDED: Final = Tally(
    "supervisor_jobs_ended",
    "Runs of jobs whose end this process has written, by what became of the job.",
    ("queue", "kind", "outcome"),
)
FENCED: Final = Tally(
    "supervisor_fenced_writes",
    "Ends of runs that the database refused, since the job was somebody else's by then.",
    ("queue", "kind"),
)
UNWRITTEN: Final = Tally(
    "supervisor_unwritten_ends", "Ends of runs that the database refused to write for any other reason.", ("kind",)
)
WAIT: Final = Histogram(
    "supervisor_job_wait_seconds", "From the time at which a job might run to its claim.", ("queue",)
)
DURATION: Final = Histogram(
    "supervisor_job_duration_seconds", "From the claim of a job to the write of its end.", ("queue", "kind")
)
CLAIM: Final = Histogram("supervisor_claim_duration_seconds", "What the database took for one claim.", ("queue",))
EMPTY: Final = Tally("supervisor_empty_claims", "Claims that found no job.", ("queue",))
WRITE: Final = Histogram("supervisor_write_duration_seconds", "What the database took for the ends of one batch.")
RUNNING_SLOW: Final = Gauge(
    "supervisor_jobs_slow", "Jobs that run here for longer than twice the 95th percentile of their kind.", ("kind",)
)

_kind_of: Final[Callable[[Any], Labels]] = itemgetter(15, 2)  # of a row: its queue and its kind
_ahead = 0.0  # seconds by which our clock is ahead of that of the database, as of the last claim


def claimed(queue: str, rows: Sequence[Claimed], seconds: float) -> None:
    """Count what one claim from a queue gave, and the seconds that it took."""
    global _ahead  # noqa: PLW0603 - one clock, one process
    CLAIM.observe(seconds, (queue,))
    if not rows:
        EMPTY.add(1, (queue,))
        return
    for place, count in Counter(map(_kind_of, rows)).items():
        CLAIMED.add(count, place)
    last = rows[-1]
    _ahead = time.time() - seconds / 2 - (last.deadline_at.timestamp() - last.timeout)
    waits = [((row.deadline_at - row.run_at).total_seconds() - row.timeout, weight) for row, weight in chosen(rows)]
    WAIT.observe_all(waits, (queue,))


def ended(rows: Sequence[Claimed], outcome: str) -> None:
    """Count runs whose end was written just now; `outcome` as the database calls it."""
    now = time.time() - _ahead
    counts = Counter(map(_kind_of, rows))
    by_kind: dict[Labels, list[Claimed]] = {}
    if len(counts) > 1:
        for row in rows:
            by_kind.setdefault(_kind_of(row), []).append(row)
    for place, count in counts.items():
        ENDED.add(count, (*place, outcome))
        alike = by_kind.get(place, rows)
        taken = [(max(0.0, now - row.deadline_at.timestamp() + row.timeout), weight) for row, weight in chosen(alike)]
        DURATION.observe_all(taken, place)


def chosen(rows: Sequence[T]) -> Iterator[tuple[T, int]]:
    """Choose some rows evenly, each with the number of rows for which it stands."""
    step = -(-len(rows) // SAMPLE)
    return ((rows[place], min(step, len(rows) - place)) for place in range(0, len(rows), step or 1))
