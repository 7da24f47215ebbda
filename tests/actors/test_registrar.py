"""The registrar: the worker's row, from the first breath to the last."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Never

import pytest

from actors.registrar import Registrar
from supervisor.jobs.events import JobsRecovered, WorkerRegistered
from supervisor.process.lifelock import LifeLock
from supervisor.store.workers import Identity
from supervisor.testing import running
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.events import ChildExited, ChildStarted
from supervisor.tree.supervisor import Supervisor
from tests.actors.parts import HOST, NOOP, Parts, parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDENTITY = Identity(name=f"{HOST}-2-2-abcd", host=HOST, pid=2, version="v1", metadata={"arch": "any"})


@pytest.fixture
def lifelock() -> Iterator[LifeLock]:
    """Give the lock of this process, and release it."""
    lock = LifeLock(IDENTITY.name)
    yield lock
    lock.release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a runtime folder."""
    made = tmp_path / "runtime"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def open_to_all(folder: Path) -> Path:
    """Give a runtime folder that other users may enter."""
    folder.chmod(0o777)
    return folder


def child(parts: Parts, lifelock: LifeLock, folder: Path) -> Child[Never]:
    """Make a registrar."""
    return Child(
        "registrar",
        lambda: Registrar(
            parts.database,
            parts.lease,
            parts.handlers,
            parts.wakes,
            parts.unregistered,
            parts.suspects,
            identity=IDENTITY,
            lifelock=lifelock,
            folder=folder,
            offered=[NOOP],
            lease_length=30.0,
            max_losses=3,
        ),
        teardown_timeout=5.0,
    )


class Last(Actor[object]):
    """Stops before the registrar, and sees then what the row says."""

    def __init__(self, parts: Parts, seen: list[str]) -> None:
        self._parts = parts
        self._seen = seen

    async def teardown(self) -> None:
        await self._parts.until("SELECT FROM supervisor.workers WHERE status = 'STOPPING'")
        self._seen.append(await self._parts.status(self._parts.lease.worker))


async def test_a_worker_runs_and_stops(lifelock: LifeLock, folder: Path) -> None:
    """The row says RUNNING, STOPPING as soon as the tree begins to stop, and STOPPED at the end."""
    async with parts() as shared:
        seen: list[str] = []
        last = Child("last", lambda: Last(shared, seen), teardown_timeout=10.0)
        async with running(Supervisor("root", [child(shared, lifelock, folder), last]), log=shared.log):
            (row,) = await shared.until("SELECT * FROM supervisor.workers WHERE status = 'RUNNING'")
            assert (row["id"], row["name"], row["version"]) == (shared.lease.worker, IDENTITY.name, "v1")
            assert shared.lease.is_held
            assert shared.log.of(WorkerRegistered, worker=row["id"])
        assert seen == ["STOPPING"]
        assert await shared.status(row["id"]) == "STOPPED"
        assert shared.lease.trusted_until < 0
        assert not lifelock.is_held


async def test_its_kinds_are_offered(lifelock: LifeLock, folder: Path) -> None:
    """Registered, a worker has made the kinds of its jobs known to everybody who enqueues."""
    async with parts() as shared, running(child(shared, lifelock, folder)):
        assert await shared.rows("SELECT kind FROM supervisor.job_kinds") == [{"kind": "noop"}]


async def test_a_restart_keeps_the_worker(lifelock: LifeLock, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registrar that crashed goes on with the worker that it had registered."""
    async with parts() as shared, running(child(shared, lifelock, folder), log=shared.log):
        await shared.until("SELECT FROM supervisor.workers WHERE status = 'RUNNING'")
        before = shared.lease.worker
        with monkeypatch.context() as broken:
            broken.setattr(Registrar, "_settle", None)
            shared.unregistered.set()
            await shared.log.expect(ChildExited, name="registrar")
        await shared.log.expect(ChildStarted, name="registrar", generation=2)
        assert shared.lease.worker == before
        assert await shared.status(before) == "RUNNING"
        assert lifelock.is_held


async def test_a_worker_that_was_lost_registers_anew(lifelock: LifeLock, folder: Path) -> None:
    """Told that its worker is gone, the registrar makes a new one under the same name."""
    async with parts() as shared, running(child(shared, lifelock, folder), log=shared.log):
        before = shared.lease.worker
        shared.lease.lose()
        shared.lease.worker = 0
        shared.unregistered.set()
        await shared.log.expect(WorkerRegistered, count=2)
        assert shared.lease.worker > before
        assert shared.lease.is_held
        await shared.until("SELECT FROM supervisor.workers WHERE id = $1 AND status = 'LOST'", before)


async def test_the_dead_of_this_host_are_recovered_at_once(lifelock: LifeLock, folder: Path) -> None:
    """What a process held whose lock is free is released without waiting for its lease, and its file removed."""
    async with parts() as shared:
        dead = await shared.worker(name=f"{HOST}-1-1-dead")
        far = await shared.worker(name="elsewhere-1-1-dead")
        await shared.enqueue(3)
        assert len(await shared.claim(dead)) == 3
        files = folder / "workers" / shared.database.installation
        files.mkdir(parents=True)
        for name in (f"{HOST}-1-1-dead", "elsewhere-1-1-dead"):
            (files / f"{name}.lock").touch()
        async with running(child(shared, lifelock, folder), log=shared.log):
            assert (await shared.log.expect(JobsRecovered)).count == 3
            await shared.until("SELECT FROM supervisor.workers WHERE status = 'RUNNING' AND pid = 2")
            assert (await shared.status(dead), await shared.status(far)) == ("LOST", "RUNNING")
            assert shared.suspects
            assert not (files / f"{HOST}-1-1-dead.lock").exists()


async def test_a_process_with_a_stubborn_handler_says_no_farewell(
    lifelock: LifeLock, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a handler still runs the row stays STOPPING, and the lock is kept for the next process to find."""
    async with parts() as shared:
        monkeypatch.setattr(type(shared.handlers), "__len__", lambda _: 1)
        async with running(child(shared, lifelock, folder)):
            await shared.until("SELECT FROM supervisor.workers WHERE status = 'RUNNING'")
            worker = shared.lease.worker
        assert await shared.status(worker) in {"RUNNING", "STOPPING"}
        assert lifelock.is_held


async def test_a_folder_that_cannot_be_used_is_only_a_pity(
    lifelock: LifeLock, open_to_all: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a runtime folder the worker runs all the same, and the log says what is lost."""
    async with parts() as shared, running(child(shared, lifelock, open_to_all)):
        await shared.until("SELECT FROM supervisor.workers WHERE status = 'RUNNING'")
        assert not lifelock.is_held
    assert [record.levelno for record in caplog.records if "cannot be proven" in record.message] == [logging.WARNING]
