"""Where the next claim looks: behind the last job, and from the start often enough but not too often."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from supervisor.jobs.claim_lane import LONGEST, RESCAN, SHARE, ClaimLane
from supervisor.store.job_rows import Cursor
from tests.jobs.rows import claimed

if TYPE_CHECKING:
    from supervisor.store.job_rows import ClaimedJob

ASKED = 10
TAKES = 0.01


class Driven:
    """A lane and the time of its claims."""

    def __init__(self) -> None:
        self.lane = ClaimLane("default", ["noop"])
        self.now = 100.0
        self.ids = 0

    def claim(self, count: int = ASKED, *, takes: float = TAKES, rows: list[ClaimedJob] | None = None) -> Cursor | None:
        """Claim once; returns the cursor that was used."""
        cursor = self.lane.next(self.now)
        sent, self.now = self.now, self.now + takes
        if rows is None:
            rows = [claimed(self.ids + n, seconds=self.ids + n) for n in range(1, count + 1)]
            self.ids += count
        self.lane.claimed(rows, ASKED, sent, self.now)
        return cursor


def test_it_begins_at_the_start_and_goes_on_behind() -> None:
    """The first claim looks from the start, the next ones behind the last job so far, in whatever order rows came."""
    driven = Driven()
    rows = [claimed(3, seconds=3), claimed(1, priority=1, seconds=1), claimed(2, seconds=2)] * 4
    assert driven.claim(rows=rows[:10]) is None
    assert driven.claim() == Cursor(1, claimed(1, seconds=1).run_at, 1)


def test_it_looks_from_the_start_again_in_time() -> None:
    """Under load it looks from the start within 0.3 s, however many claims it makes meanwhile."""
    driven = Driven()
    driven.claim()
    starts = [driven.now]
    while driven.now < 110.0:
        if driven.claim() is None:
            starts.append(driven.now)
    gaps = [after - before for before, after in pairwise(starts)]
    assert min(gaps) >= RESCAN
    assert max(gaps) <= 0.3


@pytest.mark.parametrize("dear", [0.05, 0.2])
def test_a_dear_start_is_looked_at_seldom(dear: float) -> None:
    """Where a claim from the start takes longer than one behind the cursor, that is a small part of the time."""
    driven, extra, began = Driven(), 0.0, 100.0
    driven.claim()
    driven.claim()
    while driven.now < 160.0:
        from_start = driven.lane.next(driven.now) is None
        driven.claim(takes=TAKES + dear * from_start)
        extra += dear * from_start
    assert extra / (driven.now - began) <= SHARE * 1.1
    assert extra > 0


def test_however_dear_it_is_looked_at_sometimes() -> None:
    """A claim from the start that takes seconds is still made every few of them."""
    driven = Driven()
    for _ in range(3):
        driven.claim()
    driven.now += RESCAN
    assert driven.claim(takes=3.0) is None
    before = driven.now
    while driven.claim() is not None:
        pass
    assert driven.now - before <= LONGEST + 2 * TAKES


def test_a_short_answer_behind_the_cursor_is_no_proof() -> None:
    """A queue is dry only when a claim from the start found less than was asked for."""
    driven = Driven()
    driven.claim()
    driven.claim(3)
    assert not driven.lane.dry
    assert driven.claim(0) is None
    assert driven.lane.dry


def test_a_hint_makes_it_look_from_the_start() -> None:
    """After a hint the next claim looks from the start, and its cursor does not go back for nothing."""
    driven = Driven()
    driven.claim()
    driven.claim()
    driven.lane.hint()
    assert driven.claim(rows=[claimed(500, priority=-1)]) is None
    following = driven.claim()
    assert following is not None
    assert following.priority == 0


def test_a_full_answer_from_the_start_puts_the_cursor_there() -> None:
    """Where as many better jobs came as were asked for, there may be more right behind them."""
    driven = Driven()
    driven.claim()
    driven.lane.hint()
    assert driven.claim(rows=[claimed(500 + n, priority=-1, seconds=n) for n in range(ASKED)]) is None
    following = driven.claim()
    assert following is not None
    assert following.priority == -1
