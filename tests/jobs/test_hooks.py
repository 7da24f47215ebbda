"""Who listens to jobs cannot harm them; what wakes the claimer is remembered once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from supervisor.jobs import reports
from supervisor.jobs.hooks import JobHooks
from supervisor.jobs.wakes import Wakes
from tests.jobs.rows import claimed

if TYPE_CHECKING:
    import pytest

    from supervisor.jobs.events import JobEvent


def test_no_hook_is_false() -> None:
    """Without a hook the list is false, which is all that the hot path asks."""
    assert not JobHooks()
    assert JobHooks([print])


def test_a_hook_that_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The other hooks hear of the event all the same."""
    heard: list[JobEvent] = []

    def broken(event: JobEvent) -> None:
        raise ValueError

    hooks = JobHooks([broken, heard.append])
    with caplog.at_level(logging.ERROR):
        hooks.tell(reports.started("root/executor", claimed(7)))
    assert [event.job_id for event in heard] == [7]
    assert "a hook failed on JobStarted" in caplog.text


def test_wakes_are_remembered_once() -> None:
    """Many notes of one queue make one wake and one name."""
    wakes = Wakes()
    for queue in ("a", "b", "a"):
        wakes.note(queue)
    assert wakes.signal
    assert wakes.take() == {"a", "b"}
    assert wakes.take() == set()
