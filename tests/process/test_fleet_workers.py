"""Whole processes of which only one may work: started twice and at once, killed, stopped, and of another version."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from tests.process.engine import QUICK, engine
from tests.source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.process.conftest import Start
    from tests.process.engine import Engine
    from tests.process.program import Program

ONE: Final = ("--singleton", "shop")
NO_WAIT: Final = (*ONE, "--no-singleton-wait")
QUIET: Final = {"SUPERVISOR_HTTP": "off"}
TAKEN: Final = "Cannot register: another worker already active"
ACTIVE: Final = "SELECT * FROM supervisor.workers WHERE active_singleton = 'shop'"

# An application in a folder of its own, which is no checkout of git.
PLAIN: Final = """
from supervisor import App, job

@job()
async def nothing() -> None:
    pass

app = App(jobs=[nothing])
"""


def launch(jobs: Engine, *options: str, app: str = "app", folder: Path | None = None) -> Program:
    """Start a process of the fleet; with a folder it stands for another host."""
    where = () if folder is None else ("--runtime-dir", str(folder))
    environ = {"DATABASE_URL": jobs.dsn, **QUIET}
    return jobs.start(f"tests.process.fleet_apps:{app}", *where, *options, environ=environ, limit=60.0)


def another_host(factory: pytest.TempPathFactory) -> Path:
    """Give a runtime folder of its own."""
    folder = factory.mktemp("host")
    folder.chmod(0o700)
    return folder


async def active(jobs: Engine) -> int:
    """Return the pid of the one active process."""
    (row,) = await jobs.until(f"{ACTIVE} AND status = 'RUNNING'")
    return int(row["pid"])


async def test_a_second_start_is_refused(start: Start) -> None:
    """Of two processes of one name the second leaves with 69 and says who has the place, and the first goes on."""
    async with engine(start) as jobs:
        first = launch(jobs, *NO_WAIT).ready()
        second = launch(jobs, *NO_WAIT)
        assert second.wait() == 69
        second.err.expect(TAKEN)
        second.err.expect(f"pid {first.pid}")
        assert await active(jobs) == first.pid
        assert len(await jobs.rows("SELECT FROM supervisor.workers")) == 1
        assert first.end() == 0


async def test_a_second_start_stands_by(start: Start) -> None:
    """A process that waits runs nothing until the first one stops, and then runs what that one would have."""
    async with engine(start) as jobs:
        first = launch(jobs, *ONE, app="accompanied").ready()
        first.out.expect("companion up")
        second = launch(jobs, *ONE, app="accompanied").ready()
        assert TAKEN in second.event("worker_stands_by", singleton="shop")["reason"]
        (job,) = await jobs.enqueue("note")
        assert (await jobs.ended(job))["claimed_by"] == (await jobs.worker(first))["id"]
        assert "companion up" not in second.out.lines
        first.send(signal.SIGTERM)
        second.out.expect("companion up")
        assert await active(jobs) == second.pid
        (job,) = await jobs.enqueue("note")
        assert (await jobs.ended(job))["claimed_by"] == (await jobs.worker(second))["id"]
        assert first.wait() == 0
        assert second.end() == 0


async def test_of_five_at_once_one_is_active(start: Start) -> None:
    """Five processes that start together leave one active, and when that one is killed, one of the others."""
    async with engine(start) as jobs:
        five = {program.pid: program for program in [launch(jobs, *QUICK, *ONE) for _ in range(5)]}
        for program in five.values():
            program.ready()
        first = five.pop(await active(jobs))
        for program in five.values():
            program.event("worker_stands_by")
        assert not first.events("worker_stands_by")
        first.send(signal.SIGKILL)
        await jobs.until(f"{ACTIVE} AND status = 'RUNNING' AND pid <> $1", first.pid)
        second = five.pop(await active(jobs))
        (job,) = await jobs.enqueue("note")
        second.out.expect(f"noted {job}")
        assert all(not program.events("worker_registered") for program in five.values())


async def test_a_restart_after_a_kill_is_not_refused(start: Start) -> None:
    """A process that is started again after a kill -9 takes its own place at once, long before the lease is over."""
    async with engine(start) as jobs:
        killed = launch(jobs, *NO_WAIT).ready()
        killed.end(signal.SIGKILL)
        again = launch(jobs, *NO_WAIT).ready()
        assert await active(jobs) == again.pid
        assert (await jobs.worker(killed))["status"] == "LOST"
        assert again.end() == 0


async def test_another_host_waits_for_the_lease_of_a_killed_one(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Elsewhere nobody can know of a kill -9 before the lease is over; then the next one is let in."""
    async with engine(start) as jobs:
        killed = launch(jobs, *QUICK, *ONE).ready()
        other = launch(jobs, *QUICK, *ONE, folder=another_host(tmp_path_factory)).ready()
        other.event("worker_stands_by")
        killed.send(signal.SIGKILL)
        await jobs.until(f"{ACTIVE} AND pid = $1", other.pid)
        row = await jobs.worker(killed)
        assert row["status"] == "LOST"
        assert row["stopped_at"] >= row["lease_expires_at"]


async def test_a_stop_that_is_killed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A process that is stopping gives its place away at once; killed before its end, it is STOPPED after a minute."""
    async with engine(start) as jobs:
        first = launch(jobs, *QUICK, *ONE).ready()
        await jobs.enqueue("hold")
        first.out.expect("holding")
        second = launch(jobs, *QUICK, *ONE, folder=another_host(tmp_path_factory)).ready()
        second.event("worker_stands_by")
        first.send(signal.SIGTERM)
        second.event("worker_registered")
        row = await jobs.worker(first)
        assert (row["status"], row["active_singleton"]) == ("STOPPING", None)
        first.send(signal.SIGKILL)
        second.event("jobs_recovered", worker=row["id"], count=1)
        assert (await jobs.worker(first))["status"] == "STOPPING"
        hung = await jobs.rows("SELECT alert FROM supervisor.worker_alerts WHERE subject = $1", row["name"])
        assert hung == [{"alert": "hung_stopping"}]
        await jobs.rows(
            "UPDATE supervisor.workers SET last_heartbeat_at = last_heartbeat_at - interval '60 s' WHERE id = $1",
            row["id"],
        )
        await jobs.until("SELECT FROM supervisor.workers WHERE id = $1 AND status = 'STOPPED'", row["id"])
        assert await jobs.rows("SELECT alert FROM supervisor.worker_alerts") == []


async def test_a_new_version_is_seen(start: Start, tmp_path: Path) -> None:
    """Two builds at the same time are a warning in the log and an alert; after the old one has gone they are not."""
    (tmp_path / "plain_app.py").write_text(PLAIN, encoding="utf-8")
    async with engine(start) as jobs:

        def build(number: str) -> Program:
            environ = {"DATABASE_URL": jobs.dsn, "BUILD_ID": number, "PYTHONPATH": f"{tmp_path}:{ROOT}", **QUIET}
            return jobs.start("plain_app:app", environ=environ).ready()

        old = build("build-1")
        row = await jobs.worker(old)
        assert row["version"] == "build-1"
        assert await jobs.rows("SELECT alert FROM supervisor.worker_alerts") == []
        new = build("build-2")
        drift = new.event("version_drift")
        assert (drift["versions"], drift["level"]) == (["build-1", "build-2"], "warning")
        (alert,) = await jobs.rows("SELECT * FROM supervisor.worker_alerts")
        assert (alert["alert"], alert["detail"]) == ("version_drift", "build-1: 1, build-2: 1")
        assert old.end() == 0
        assert await jobs.rows("SELECT alert FROM supervisor.worker_alerts") == []
        assert new.end() == 0
