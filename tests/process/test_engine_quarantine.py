"""Whole processes with a job that kills them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.process.engine import QUICK, engine

if TYPE_CHECKING:
    from tests.process.conftest import Start


async def test_a_poison_job_convicts_itself_alone(start: Start) -> None:
    """A job that ends its process is put away after three losses; its neighbours complete with all attempts left."""
    async with engine(start) as jobs:
        killed = jobs.run(*QUICK)
        neighbours = await jobs.enqueue("hold", 5)
        for job in neighbours:
            killed.out.expect(f"holding {job}")
        (poison,) = await jobs.enqueue("poison")
        assert killed.wait() == 9
        program = jobs.run(*QUICK)
        row = await jobs.ended(poison)
        assert (row["status"], row["losses"], row["attempts"]) == ("quarantined", 3, 0)
        for job in neighbours:
            row = await jobs.ended(job)
            assert (row["status"], row["attempts"]) == ("completed", 0)
            assert row["losses"] < 3
        assert program.process.poll() is None
        assert program.events("worker_lost") == []
        (job,) = await jobs.enqueue("note")
        assert (await jobs.ended(job))["losses"] == 0
        assert program.end() == 0


async def test_a_lane_ends_with_its_parent(start: Start) -> None:
    """A process for suspects ends in order when the one that started it is killed, and hands its jobs back."""
    async with engine(start) as jobs:
        first = jobs.run(*QUICK)
        (job,) = await jobs.enqueue("work", seconds=60.0)
        first.out.expect(f"working {job}")
        first.end(signal.SIGKILL)
        second = jobs.run(*QUICK)
        pid = second.event("quarantine_started")["pid"]
        second.out.expect(f"working {job} in {pid}")
        second.send(signal.SIGKILL)
        await jobs.until("SELECT * FROM supervisor.workers WHERE worker_type = 'quarantine' AND status = 'STOPPED'")
        row = await jobs.live(job)
        assert (row["claimed_by"], row["losses"], row["interruptions"]) == (None, 1, 1)
        second.until(lambda: not _lives(pid), "the end of the lane")


async def test_a_lane_stops_with_its_parent(start: Start) -> None:
    """A process that is told to stop ends its lane in order, and stays until it has ended."""
    async with engine(start) as jobs:
        first = jobs.run(*QUICK)
        (job,) = await jobs.enqueue("work", seconds=60.0)
        first.out.expect(f"working {job}")
        first.end(signal.SIGKILL)
        second = jobs.run(*QUICK)
        pid = second.event("quarantine_started")["pid"]
        second.out.expect(f"working {job} in {pid}")
        assert second.end() == 0
        assert not _lives(pid)
        second.event("quarantine_ended", pid=pid, code=0)
        assert (await jobs.live(job))["interruptions"] == 1


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
