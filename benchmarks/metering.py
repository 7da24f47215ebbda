"""What the metrics of jobs cost: the counting of one claim and of one write of ends, for each job in it."""

from __future__ import annotations

import datetime as dt
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from benchmarks.results import Row, at_most
from benchmarks.sampling import in_turn
from supervisor.telemetry import job_tallies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.sampling import Plan, Variant

JOBS: Final = 200_000
BATCHES: Final = (10, 100, 500)
"""Jobs claimed and written together: of a quiet queue, and of one that runs as fast as it can."""


def _column(place: int) -> Any:  # noqa: ANN401 - each use below says its type
    return property(itemgetter(place))


class _Claimed(tuple[Any, ...]):
    """A row as the claim gives it, without a database."""

    __slots__ = ()

    timeout: float = _column(10)
    deadline_at: dt.datetime = _column(9)
    run_at: dt.datetime = _column(13)


def measure(plan: Plan) -> list[Row]:
    """Jobs of one kind in batches of several sizes, and of ten kinds in the largest."""
    jobs = plan.size(JOBS, least=max(BATCHES))
    variants = {f"batches of {size}": _counting(jobs, size, 1) for size in BATCHES}
    variants[f"batches of {BATCHES[-1]}, ten kinds"] = _counting(jobs, BATCHES[-1], 10)
    samples = in_turn(plan, "s", variants)
    return [
        Row(f"metrics of a job, {label}", found, None, at_most(5e-6 if label == "batches of 10" else 5e-7, "s"))
        for label, found in samples.items()
    ]


def _counting(jobs: int, size: int, kinds: int) -> Variant:
    rows = [_row(number, kinds) for number in range(size)]

    def count() -> float:
        batches = max(1, jobs // size)
        began = time.perf_counter()
        for _ in range(batches):
            _one_batch(rows)
        return (time.perf_counter() - began) / (batches * size)

    return count


def _one_batch(rows: Sequence[_Claimed]) -> None:
    job_tallies.claimed("default", rows, 0.001)
    job_tallies.ended(rows, "completed")
    job_tallies.WRITE.observe(0.001)


def _row(number: int, kinds: int) -> _Claimed:
    at = dt.datetime.now(dt.UTC)
    kind = f"kind-{number % kinds}"
    deadline = at + dt.timedelta(seconds=300)
    return _Claimed((number, 1, kind, "{}", 0, 3, 0, 0, None, deadline, 300.0, None, 0, at, "default", "default"))
