"""Whole processes that end when there is nothing left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.process.engine import engine
from tests.process.job_apps import note

if TYPE_CHECKING:
    from tests.process.conftest import Start


async def test_a_process_ends_when_the_queues_are_empty(start: Start) -> None:
    """With --until-empty a process does everything that can be done now, and exits with 0."""
    async with engine(start) as jobs:
        done = await jobs.enqueue("note", 20)
        (failed,) = await jobs.enqueue("fail")
        future = (await jobs.client.enqueue(note, run_at=3600.0)).id
        program = jobs.run("--until-empty")
        assert program.wait() == 0
        assert [(await jobs.ended(job))["status"] for job in done] == ["completed"] * 20
        assert (await jobs.ended(failed))["status"] == "failed"
        assert await jobs.rows("SELECT * FROM supervisor.jobs_waiting WHERE id = $1", future)
