"""The quarantine: at most one process for suspects, only while there are any, and gone with us."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Never

import pytest

from actors import quarantine
from actors.quarantine import Quarantine
from supervisor.jobs.events import JobsRecovered, QuarantineEnded, QuarantineStarted
from supervisor.process import lane
from supervisor.process.lifelock import LifeLock
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.parts import HOST, Parts, parts, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Lane = Callable[[str], None]

UNTIL_TOLD = "import sys; sys.stdin.read()"
DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); sys.stdin.read()"


@pytest.fixture
def lane_of(monkeypatch: pytest.MonkeyPatch) -> Lane:
    """Let the lane be a Python process with a given script."""

    def put(script: str) -> None:
        monkeypatch.setattr(lane, "COMMAND", (sys.executable, "-c", script))

    return put


@pytest.fixture
def lifelock(tmp_path: Path) -> Iterator[LifeLock]:
    """Give a lock that is held."""
    lock = LifeLock(f"{HOST}-2-2-main")
    lock.hold(tmp_path)
    yield lock
    lock.release()


def child(parts: Parts, lifelock: LifeLock, *, stop_timeout: float = 5.0) -> Child[Never]:
    """Make a quarantine."""
    return Child(
        "quarantine",
        lambda: Quarantine(
            parts.database,
            parts.suspects,
            queues=["default"],
            kinds=["noop"],
            max_losses=3,
            lifelock=lifelock,
            environ=dict(os.environ),
        ),
        stop_timeout=stop_timeout,
    )


async def suspect(shared: Parts, losses: int = 1) -> int:
    """Make a job that was lost with a worker."""
    (job,) = await shared.enqueue()
    await shared.execute("UPDATE supervisor.jobs SET losses = $1 WHERE id = $2", losses, job)
    return job


async def test_without_suspects_nothing_is_started(lane_of: Lane, lifelock: LifeLock) -> None:
    """Jobs that were never lost are no reason to start a process."""
    lane_of(UNTIL_TOLD)
    async with parts() as shared:
        await shared.enqueue()
        async with running(child(shared, lifelock), log=shared.log):
            await shared.rows("SELECT pg_sleep(0.2)")
    assert shared.log.of(QuarantineStarted) == []


async def test_suspects_get_a_process_that_ends_with_us(lane_of: Lane, lifelock: LifeLock) -> None:
    """The signal of a reaper starts one process, which is told to stop when the tree does."""
    lane_of(UNTIL_TOLD)
    async with parts() as shared:
        async with running(child(shared, lifelock), log=shared.log):
            await suspect(shared)
            shared.suspects.set()
            started = await shared.log.expect(QuarantineStarted)
            await suspect(shared)
            shared.suspects.set()
            await shared.rows("SELECT pg_sleep(0.2)")
        assert len(shared.log.of(QuarantineStarted)) == 1
        (ended,) = shared.log.of(QuarantineEnded)
        assert (ended.pid, ended.code) == (started.pid, -signal.SIGTERM)


async def test_a_process_that_does_not_listen_is_killed(
    lane_of: Lane, lifelock: LifeLock, capfd: pytest.CaptureFixture[str]
) -> None:
    """A lane that heeds no signal is killed at the end of the stop."""
    lane_of(DEAF)
    out = ""

    def heard() -> bool:
        nonlocal out
        out += capfd.readouterr().out
        return "deaf" in out

    async with parts() as shared:
        await suspect(shared)
        async with running(child(shared, lifelock, stop_timeout=0.2), log=shared.log):
            started = await shared.log.expect(QuarantineStarted)
            await until(heard)
        (ended,) = shared.log.of(QuarantineEnded)
        assert (ended.pid, ended.code) == (started.pid, -signal.SIGKILL)
        with pytest.raises(ProcessLookupError):
            os.kill(started.pid, 0)


async def test_a_crash_starts_the_next_and_a_clean_end_does_not(
    lane_of: Lane, lifelock: LifeLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that died is followed by another while suspects are left, one that ended well only at the next look."""
    monkeypatch.setattr(quarantine, "PERIOD", 3600.0)
    lane_of("raise SystemExit(9)")
    async with parts() as shared:
        await suspect(shared)
        async with running(child(shared, lifelock), log=shared.log):
            await shared.log.expect(QuarantineEnded, count=2, code=9)
            lane_of("")
            await shared.log.expect(QuarantineEnded, code=0)
            await shared.rows("SELECT pg_sleep(0.2)")
            count = len(shared.log.of(QuarantineStarted))
            shared.suspects.set()
            await shared.log.expect(QuarantineStarted, count=count + 1)


async def test_what_a_dead_lane_held_is_recovered(lane_of: Lane, lifelock: LifeLock, tmp_path: Path) -> None:
    """The jobs of a lane that crashed are free before the next one looks for them."""
    lane_of("raise SystemExit(9)")
    async with parts() as shared:
        dead = await shared.worker(name=f"{HOST}-1-1-lane")
        await shared.enqueue(2)
        await shared.claim(dead, 1)
        (tmp_path / f"{HOST}-1-1-lane.lock").touch()
        await shared.execute("UPDATE supervisor.jobs SET losses = 1 WHERE claimed_by IS NULL")
        async with running(child(shared, lifelock), log=shared.log):
            event = await shared.log.expect(JobsRecovered)
        assert (event.worker, event.count) == (dead, 1)
        assert await shared.status(dead) == "LOST"


async def test_a_process_that_cannot_be_started_is_tried_again(
    lifelock: LifeLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is missing is reported, and no reason to crash."""
    monkeypatch.setattr(lane, "COMMAND", ("/nowhere/python",))
    async with parts() as shared:
        await suspect(shared)
        async with running(child(shared, lifelock), log=shared.log):
            await shared.rows("SELECT pg_sleep(0.3)")
        assert shared.log.of(QuarantineStarted) == []
