"""The state of the way to the database: told once, and waits that grow with the outage and not with its witnesses."""

from __future__ import annotations

import pytest

from supervisor.errors import DatabaseUnavailable
from supervisor.store.outage import FIRST_WAIT, JITTER, LONGEST_WAIT, Outage

ERROR = DatabaseUnavailable("gone")


class Told:
    """An outage on a clock that stands until it is moved, and what was told of it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.news: list[tuple[bool, float, str]] = []
        self.outage = Outage(lambda: self.now)
        self.outage.on_change = lambda lost, seconds, reason: self.news.append((lost, seconds, reason))


def test_an_outage_is_told_once() -> None:
    """The loss and the return are told once each, with how long it took and why."""
    told = Told()
    told.outage.recovered()
    for _ in range(3):
        told.outage.failed(ERROR)
        assert told.outage.is_on
    told.now += 7.0
    for _ in range(3):
        told.outage.recovered()
    assert not told.outage.is_on
    assert told.news == [(True, 0.0, "gone"), (False, 7.0, "gone")]


def test_waits_double_up_to_a_limit() -> None:
    """One witness waits about twice as long each time, up to the limit, and less by some jitter."""
    told = Told()
    waits = []
    for _ in range(9):
        wait = told.outage.failed(ERROR)
        longest = min(max(told.now - 100.0, FIRST_WAIT), LONGEST_WAIT)
        assert longest * (1 - JITTER) <= wait <= longest
        waits.append(longest)
        told.now += longest
    assert waits == pytest.approx([0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


def test_witnesses_do_not_add_up() -> None:
    """Many failures at one moment leave the wait as it is for one."""
    told = Told()
    assert max(told.outage.failed(ERROR) for _ in range(100)) <= FIRST_WAIT


def test_a_new_outage_begins_anew() -> None:
    """After a return the next outage begins with the shortest wait."""
    told = Told()
    told.outage.failed(ERROR)
    told.now += 60.0
    assert told.outage.failed(ERROR) > FIRST_WAIT
    told.outage.recovered()
    assert told.outage.failed(ERROR) <= FIRST_WAIT
