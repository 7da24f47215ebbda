"""Jobs are counted in bulk: exactly, by queue and kind, with the spread of their times from a sample."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, cast

import pytest

from supervisor.store.job_rows import CLAIMED_COLUMNS
from supervisor.telemetry import job_tallies
from supervisor.telemetry.job_tallies import CLAIM, CLAIMED, DURATION, EMPTY, ENDED, WAIT, chosen, claimed, ended
from tests.jobs.rows import PaperRow

if TYPE_CHECKING:
    from supervisor.store.job_rows import ClaimedJob
    from supervisor.telemetry.tallies import Histogram


def row(queue: str, kind: str, *, waited: float = 1.0, ran: float = 0.0) -> ClaimedJob:
    """Make a job that was claimed `ran` seconds ago, and could have run `waited` seconds before that."""
    claimed_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ran)
    values = dict.fromkeys(CLAIMED_COLUMNS.split(", "))
    values |= {"queue": queue, "kind": kind, "timeout_s": 60.0}
    values |= {
        "deadline_at": claimed_at + dt.timedelta(seconds=60),
        "run_at": claimed_at - dt.timedelta(seconds=waited),
    }
    return cast("ClaimedJob", PaperRow(values.values()))


def spread(histogram: Histogram, *labels: str) -> tuple[int, float]:
    """Return how many observations there were, and their sum."""
    found = histogram.spreads().get(labels)
    return (0, 0.0) if found is None else (found.count, found.total)


def test_a_claim_is_counted_by_kind() -> None:
    """Each claimed job counts for its queue and kind, and for how long it had waited."""
    claimed("claims", [row("claims", "a", waited=2.0) for _ in range(30)] + [row("claims", "b", waited=2.0)], 0.01)
    counts = CLAIMED.counts()
    assert (counts["claims", "a"], counts["claims", "b"]) == (30, 1)
    assert spread(WAIT, "claims") == pytest.approx((31, 62.0))
    assert spread(CLAIM, "claims") == pytest.approx((1, 0.01))


def test_an_empty_claim_is_counted_as_such() -> None:
    """A claim that found nothing is one more that did."""
    claimed("nothing", [], 0.01)
    assert EMPTY.counts()["nothing",] == 1
    assert spread(WAIT, "nothing") == (0, 0.0)


@pytest.mark.parametrize("kinds", [1, 3])
def test_an_end_is_counted_by_outcome(kinds: int) -> None:
    """Each end counts once, and for how long it took since the claim, whatever the batch is made of."""
    queue = f"ends-{kinds}"
    rows = [row(queue, f"k{number % kinds}", ran=5.0) for number in range(300)]
    claimed(queue, rows[:1], 0.0)
    job_tallies._ahead = 0.0
    ended(rows, "completed")
    ended([], "failed")
    assert {key: count for key, count in ENDED.counts().items() if key[0] == queue} == {
        (queue, f"k{number}", "completed"): 300 / kinds for number in range(kinds)
    }
    count, total = spread(DURATION, queue, "k0")
    assert count == 300 / kinds
    assert 5.0 <= total / count < 30.0


def test_the_clock_of_the_database_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is an hour ahead measures the same durations."""
    real = time.time
    monkeypatch.setattr("supervisor.telemetry.job_tallies.time.time", lambda: real() + 3600.0)
    one = row("ahead", "a")
    claimed("ahead", [one], 0.0)
    ended([one], "completed")
    count, total = spread(DURATION, "ahead", "a")
    assert count == 1
    assert total < 30.0


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100, 500])
def test_the_sample_stands_for_all(count: int) -> None:
    """A few of the jobs are looked at, and together they weigh as much as all."""
    found = list(chosen([row("q", "k")] * count))
    assert sum(weight for _, weight in found) == count
    assert len(found) <= job_tallies.SAMPLE
