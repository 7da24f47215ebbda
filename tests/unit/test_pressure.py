"""When the database counts as suffering, and by how much what can wait is asked more seldom."""

from __future__ import annotations

import pytest

from supervisor.jobs.pressure import DEAD_ROWS, KEPT_ROWS, MOST, OLD_SNAPSHOT, SLOW_CLAIM, Cause, Pressure, Reading

OLD = Reading(oldest_snapshot=OLD_SNAPSHOT, dead_rows=KEPT_ROWS)
SLOW = Reading(claim=SLOW_CLAIM)


@pytest.mark.parametrize(
    ("reading", "causes"),
    [
        (Reading(), ()),
        (OLD, (Cause.OLD_SNAPSHOT,)),
        (Reading(oldest_snapshot=1e6, dead_rows=KEPT_ROWS - 1), ()),
        (Reading(dead_rows=DEAD_ROWS), (Cause.DEAD_ROWS,)),
        (SLOW, (Cause.SLOW_CLAIMS,)),
        (Reading(OLD_SNAPSHOT, DEAD_ROWS, SLOW_CLAIM), tuple(Cause)),
    ],
)
def test_each_cause_has_its_bound(reading: Reading, causes: tuple[Cause, ...]) -> None:
    """The database suffers from a bound of each cause on; an old transaction only if it keeps many rows."""
    pressure = Pressure()
    assert pressure.judge(reading) == bool(causes)
    assert pressure.causes == causes
    assert pressure.factor == (2.0 if causes else 1.0)


@pytest.mark.parametrize(("claim", "factor"), [(0.1, 1.0), (0.25, 2.0), (0.5, 4.0), (1.0, 8.0), (100.0, MOST)])
def test_the_worse_the_more_seldom(claim: float, factor: float) -> None:
    """The factor grows with the worst cause, up to a most."""
    pressure = Pressure()
    pressure.judge(Reading(claim=claim))
    assert pressure.factor == factor


def test_it_does_not_come_and_go() -> None:
    """What has begun is over only well below where it began, and each change is told once."""
    pressure = Pressure()
    told = [pressure.judge(Reading(claim=SLOW_CLAIM * part)) for part in (0.9, 1.1, 0.8, 1.1, 0.6, 0.9)]
    assert told == [False, True, False, False, True, False]
    assert pressure.factor == 1.0
