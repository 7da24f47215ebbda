"""The heartbeater: a lease that is renewed whatever the loop does, and a worker that is let go when it is lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Never

from actors.heartbeat_thread import HeartbeatThread, Rhythm
from actors.heartbeater import Heartbeater
from supervisor.errors import SupervisorError
from supervisor.jobs.events import WorkerLost
from supervisor.jobs.lease import now
from supervisor.testing import running
from supervisor.tree.child import Child
from supervisor.tree.events import ChildExited
from supervisor.tree.outcome import Crashed, Shutdown, Stage
from tests.actors.parts import Parts, parts, until

if TYPE_CHECKING:
    import pytest

_RENEWED = (
    "SELECT * FROM supervisor.workers WHERE id = $1 AND last_heartbeat_at > started_at + make_interval(secs => $2)"
)


def child(parts: Parts, *, lease: float = 30.0, every: float = 0.05, hard_limit: float = 60.0) -> Child[Never]:
    """Make a heartbeater."""
    return Child(
        "heartbeater",
        lambda: Heartbeater(
            parts.database,
            parts.lease,
            parts.handlers,
            parts.wakes,
            parts.unregistered,
            parts.switches,
            rhythm=Rhythm(lease=lease, every=every),
            hard_limit=hard_limit,
        ),
    )


async def test_the_lease_is_renewed() -> None:
    """The database's lease and our trust in it move on with each heartbeat."""
    async with parts() as shared:
        worker = await shared.become(lease=10.0)
        before = shared.lease.trusted_until
        async with running(child(shared)):
            await shared.until(_RENEWED, worker, 0.1)
            await until(lambda: shared.lease.trusted_until > before + 10.0)


async def test_a_blocked_loop_does_not_cost_the_lease() -> None:
    """While the event loop stands still for longer than the lease, the thread goes on."""
    async with parts() as shared:
        worker = await shared.become(lease=1.0)
        async with running(child(shared, lease=1.0)):
            await shared.until(_RENEWED, worker, 0.0)
            threading.Event().wait(1.5)
            assert shared.lease.is_held
            assert await shared.status(worker) == "RUNNING"
            await shared.until(_RENEWED, worker, 1.5)


async def test_a_worker_that_is_lost_is_let_go() -> None:
    """A refused heartbeat ends the trust in the lease and asks for another worker."""
    async with parts() as shared:
        worker = await shared.become()
        async with running(child(shared), log=shared.log):
            await shared.execute("UPDATE supervisor.workers SET status = 'LOST' WHERE id = $1", worker)
            await shared.log.expect(WorkerLost, worker=worker)
            assert shared.lease.worker == 0
            assert not shared.lease.is_held
            assert shared.unregistered


async def test_without_a_worker_nothing_is_sent() -> None:
    """Before a worker is registered there is no heartbeat, and the first comes soon after."""
    async with parts() as shared, running(child(shared)):
        worker = await shared.become()
        await shared.until(_RENEWED, worker, 0.0)


async def test_a_connection_that_is_lost_is_made_again() -> None:
    """A heartbeat that fails is repeated on another connection, and the claimer hears when it works again."""
    async with parts() as shared:
        await shared.become()
        async with running(child(shared)):
            mine = "FROM pg_stat_activity WHERE application_name LIKE '%heartbeat'"
            (first,) = await shared.until(f"SELECT pid {mine}")
            await shared.rows("SELECT pg_terminate_backend($1)", first["pid"])
            await shared.until(f"SELECT pid {mine} AND pid <> $1", first["pid"])
            await until(lambda: shared.wakes.signal)


async def test_it_ends_in_the_middle_of_a_statement() -> None:
    """A stop does not wait for a heartbeat that the database does not answer."""
    async with parts() as shared:
        worker = await shared.become()
        async with shared.database.connection() as link, running(child(shared), log=shared.log):
            await shared.until(_RENEWED, worker, 0.0)
            async with link.transaction():
                await link.execute("LOCK TABLE supervisor.workers IN ACCESS EXCLUSIVE MODE")
                await shared.until("SELECT FROM pg_locks WHERE NOT granted")
    (ended,) = shared.log.of(ChildExited, name="heartbeater")
    assert ended.outcome == Shutdown(Stage.DRAINING)
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


async def test_nothing_is_renewed_past_the_end_of_the_process() -> None:
    """A process that outlives its shutdown loses its lease."""
    async with parts() as shared:
        await shared.become()
        thread = HeartbeatThread(
            lambda: shared.database.dedicated("heartbeat"),
            shared.lease,
            Rhythm(lease=30.0, every=0.05),
            lambda _: None,
            lambda: None,
        )
        thread.until = now() + 0.2
        thread.start()
        await until(lambda: not thread.is_alive())
        assert now() >= thread.until


async def test_a_thread_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw ends the thread, and with it the actor, which its supervisor restarts."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    async with parts() as shared:
        worker = await shared.become()
        with monkeypatch.context() as broken:
            broken.setattr(HeartbeatThread, "_beat", None)
            async with running(child(shared), log=shared.log):
                ended = await shared.log.expect(ChildExited, name="heartbeater")
                broken.undo()
                assert isinstance(ended.outcome, Crashed)
                assert isinstance(ended.outcome.error, SupervisorError)
                await shared.until(_RENEWED, worker, 0.0)
