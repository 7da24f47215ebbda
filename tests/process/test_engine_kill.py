"""Whole processes with jobs that are killed, stopped for longer than their lease, or lose their database."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.process.engine import QUICK, Engine, engine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.process.conftest import Start
    from tests.process.program import Program


async def test_another_host_takes_the_jobs_of_a_killed_one(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Jobs of a process that was killed with -9 run again elsewhere after its lease, at the cost of a loss."""
    async with engine(start) as jobs:
        killed = jobs.run(*QUICK)
        ids = await jobs.enqueue("hold", 3)
        for job in ids:
            killed.out.expect(f"holding {job}")
        other = jobs.run(*QUICK, folder=_folder(tmp_path_factory))
        killed.send(signal.SIGKILL)
        for job in ids:
            row = await jobs.ended(job)
            assert (row["status"], row["attempts"], row["losses"], row["lock_version"]) == ("completed", 0, 1, 3)
        assert (await jobs.worker(killed))["status"] == "LOST"
        other.event("jobs_recovered", count=3, quarantined=0)


async def test_a_restart_takes_over_at_once(start: Start) -> None:
    """A process that is started after its predecessor was killed on the same host does not wait for the lease."""
    async with engine(start) as jobs:
        killed = jobs.run()
        (job,) = await jobs.enqueue("hold")
        killed.out.expect(f"holding {job}")
        killed.end(signal.SIGKILL)
        again = jobs.run()
        assert again.event("jobs_recovered")["count"] == 1
        assert (await jobs.ended(job))["status"] == "completed"
        assert again.end() == 0


async def test_a_process_that_stood_still_is_no_danger(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After a pause longer than its lease a process writes nothing about its old jobs, and goes on as a new worker."""
    async with engine(start) as jobs:
        paused = jobs.run(*QUICK)
        (job,) = await jobs.enqueue("hold")
        paused.out.expect(f"holding {job}")
        before = await jobs.worker(paused)
        jobs.run(*QUICK, folder=_folder(tmp_path_factory))
        paused.send(signal.SIGSTOP)
        row = await jobs.ended(job)
        paused.send(signal.SIGCONT)
        paused.out.expect(f"let go {job}")
        paused.event("worker_lost", worker=before["id"])
        assert (row["status"], row["lock_version"]) == ("completed", 3)
        assert len(await jobs.rows("SELECT * FROM supervisor.job_history WHERE job_id = $1", job)) == 1
        await _works_again(jobs, paused)
        assert (await jobs.worker(paused))["id"] != before["id"]
        assert paused.end() == 0


async def test_a_late_completion_is_refused(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A handler that ends after its job was given to somebody else changes nothing, and the log says so."""
    async with engine(start) as jobs:
        paused = jobs.run(*QUICK)
        (job,) = await jobs.enqueue("stop_the_loop", seconds=0.5)
        paused.out.expect(f"stopping {job}")
        paused.send(signal.SIGSTOP)
        jobs.run(*QUICK, folder=_folder(tmp_path_factory))
        row = await jobs.ended(job)
        paused.send(signal.SIGCONT)
        paused.event("job_fenced", job_id=job, lock_version=1)
        assert (row["status"], row["lock_version"], row["losses"]) == ("completed", 3, 1)
        assert await jobs.rows("SELECT * FROM supervisor.job_history WHERE job_id = $1", job) == [row]
        assert paused.end() == 0


async def _works_again(jobs: Engine, program: Program) -> None:
    """Wait until a process runs jobs, though others may take some first."""
    while True:
        (job,) = await jobs.enqueue("note")
        row = await jobs.ended(job)
        if row["claimed_by"] == (await jobs.worker(program))["id"]:
            return


def _folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.mktemp("host")
    folder.chmod(0o700)
    return folder
