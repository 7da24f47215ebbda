"""Holds the page about jobs to the truth: its tables have the real options, modes and events."""

from __future__ import annotations

import inspect
import re
from typing import Final, get_args

from supervisor.jobs import events
from supervisor.jobs.client import Client
from supervisor.jobs.context import StepMode
from supervisor.jobs.job import job
from supervisor.telemetry.logs import name_of
from supervisor.tree.events import Event
from tests.pages import Page
from tests.source import ROOT

JOBS: Final = Page(ROOT / "docs/jobs.md")


def named(rows: list[tuple[str, ...]]) -> set[str]:
    """List what the first cells of some rows name; a cell may name several things."""
    return {name for row in rows for name in re.findall(r"`\"?(\w+)\"?`", row[0])}


def test_the_options_of_a_job_are_the_real_ones() -> None:
    """Each table of options has every one, for a job and for an enqueue, and no other."""
    assert named(JOBS.rows("option of `@job`")) == set(inspect.signature(job).parameters)
    taken = set(inspect.signature(Client.enqueue).parameters)
    assert named(JOBS.rows("option of `enqueue`")) == taken - {"self", "job", "args", "conn"}


def test_the_modes_of_a_step_are_the_real_ones() -> None:
    """The table of modes has all of them."""
    assert named(JOBS.rows("mode")) == set(get_args(StepMode))


def test_the_events_of_jobs_are_the_real_ones() -> None:
    """The table of events has every one that a job has, and no event that there is not."""
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    told = named(JOBS.rows("event"))
    assert told <= {name_of(kind) for kind in kinds}
    assert {name_of(kind) for kind in kinds if issubclass(kind, events.JobEvent)} - {name_of(events.JobEvent)} <= told
