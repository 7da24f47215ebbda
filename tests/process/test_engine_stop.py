"""Whole processes with jobs that are told to stop."""

from __future__ import annotations

import signal
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.process.engine import QUICK, engine

if TYPE_CHECKING:
    from tests.process.conftest import Start


async def test_an_idle_process_stops_within_a_second(start: Start) -> None:
    """A process without work ends within a second after SIGTERM, and its worker has said that it stopped."""
    async with engine(start) as jobs:
        program = jobs.run()
        assert program.end() == 0
        began, ended = (program.events(name)[0]["timestamp"] for name in ("shutdown_began", "process_exit"))
        assert (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds() < 1.0
        assert (await jobs.worker(program))["status"] == "STOPPED"


@pytest.mark.soak
async def test_an_idle_process_needs_four_connections(start: Start) -> None:
    """A process without work comes down to at most four connections to the database, as the pool lets go of others."""
    async with engine(start) as jobs:
        jobs.run("--name", "counted")
        (job,) = await jobs.enqueue("note")
        await jobs.ended(job)
        await jobs.until(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'counted%' "
            "HAVING count(*) BETWEEN 1 AND 4",
            limit=45.0,
        )


async def test_interrupted_work_is_handed_back_for_free(start: Start) -> None:
    """A handler that outlives the drain is cancelled, and its job goes back at once without losing an attempt."""
    async with engine(start) as jobs:
        program = jobs.run("--drain-timeout", "0.2s")
        (job,) = await jobs.enqueue("hold")
        program.out.expect(f"holding {job}")
        assert program.end() == 0
        program.out.expect(f"let go {job}")
        row = await jobs.live(job)
        assert (row["claimed_by"], row["attempts"], row["losses"], row["interruptions"]) == (None, 0, 0, 1)
        assert (await jobs.worker(program))["status"] == "STOPPED"


async def test_work_may_finish_during_the_drain(start: Start) -> None:
    """A handler that ends in time completes its job during the shutdown, while the worker says STOPPING."""
    async with engine(start) as jobs:
        program = jobs.run()
        (job,) = await jobs.enqueue("work", seconds=0.6)
        program.out.expect(f"working {job}")
        program.send(signal.SIGTERM)
        await jobs.until("SELECT * FROM supervisor.workers WHERE status = 'STOPPING'")
        assert program.wait() == 0
        assert (await jobs.ended(job))["status"] == "completed"
        assert (await jobs.worker(program))["status"] == "STOPPED"


@pytest.mark.soak
async def test_a_handler_that_cannot_be_stopped_keeps_its_job(start: Start) -> None:
    """A handler that survives its cancel ends the process with 75; its job and its worker's lease stay as they are."""
    async with engine(start) as jobs:
        program = jobs.run("--drain-timeout", "0.2s", "--shutdown-timeout", "10s")
        (job,) = await jobs.enqueue("block", seconds=30.0)
        program.out.expect(f"blocking {job}")
        assert program.end() == 75
        assert (await jobs.live(job))["claimed_by"] is not None
        assert (await jobs.worker(program))["status"] == "STOPPING"


async def test_a_blocked_loop_keeps_its_lease(start: Start) -> None:
    """A handler that blocks the event loop for longer than a lease loses no job to anybody."""
    async with engine(start) as jobs:
        program = jobs.run("--loop-block-limit", "0", *QUICK)
        (job,) = await jobs.enqueue("stop_the_loop", seconds=4.0)
        program.out.expect(f"stopped {job}")
        row = await jobs.ended(job)
        assert (row["status"], row["lock_version"]) == ("completed", 1)
        assert program.end() == 0
        assert program.events("worker_lost") == []
