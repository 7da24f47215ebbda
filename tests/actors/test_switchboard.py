"""The switchboard: each change is seen, obeyed and confirmed, whoever makes it and whether or not it was heard of."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Never

from actors.heartbeat_thread import Rhythm
from actors.heartbeater import Heartbeater
from actors.listener import Listener
from actors.switchboard import Switchboard
from supervisor.jobs.events import SwitchChanged, SwitchFound
from supervisor.jobs.job import job
from supervisor.jobs.switches import UNKNOWN, Switches
from supervisor.store import control
from supervisor.store.control import Mode, Scope
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.engine import engine, job_database
from tests.actors.parts import Parts, parts, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from supervisor.jobs.context import JobContext
    from supervisor.jobs.job import Job
    from supervisor.store.database import Database
    from tests.actors.engine import Engine

LONG = 3600.0
CONFIRMED = "SELECT FROM supervisor.workers WHERE id = $1 AND confirmed_epoch = $2"
FREE = "SELECT FROM supervisor.jobs WHERE id = $1 AND claimed_by IS NULL AND interruptions = 1 AND attempts = 0"


def child(parts: Parts, *, poll: float = LONG) -> Child[Never]:
    """Make a switchboard."""
    return Child(
        "switchboard",
        lambda: Switchboard(parts.database, parts.lease, parts.handlers, parts.switches, poll=poll),
    )


async def change(
    database: Database,
    *,
    value: bool | str = True,
    scope: Scope = Scope.KILL_SWITCH,
    name: str | None = None,
    cancel_running: bool = False,
) -> control.Change:
    """Change a switch."""
    async with database.connection() as link:
        return await control.change_switch(
            link, scope, name, value, reason="on fire", actor="alice", cancel_running=cancel_running
        )


async def test_it_reads_and_confirms_at_the_start() -> None:
    """At its start the copy is that of the database, the worker confirms it, and what is off is told."""
    async with parts() as shared:
        worker = await shared.become()
        await change(shared.database, value="safe_mode", scope=Scope.MODE)
        async with running(child(shared), log=shared.log):
            await shared.until(CONFIRMED, worker, 2)
            assert (shared.switches.now.epoch, shared.switches.now.mode) == (2, Mode.SAFE_MODE)
            found = await shared.log.expect(SwitchFound)
            assert (found.scope, found.name, found.value, found.actor, found.reason) == (
                "mode",
                None,
                "safe_mode",
                "alice",
                "on fire",
            )


async def test_it_obeys_what_it_hears() -> None:
    """A change that it hears of is in the copy, told with who and why, and confirmed; and its end with how long."""
    async with parts() as shared:
        worker = await shared.become()
        follower = shared.switches.follow()
        async with running(child(shared), log=shared.log):
            await shared.until(CONFIRMED, worker, 1)
            follower.clear()
            await change(shared.database)
            shared.switches.heard(2)
            await follower.wait()
            assert shared.switches.now.killed
            await shared.until(CONFIRMED, worker, 2)
            told = await shared.log.expect(SwitchChanged)
            assert (told.scope, told.before, told.after, told.actor, told.reason, told.epoch, told.seconds) == (
                "kill_switch",
                False,
                True,
                "alice",
                "on fire",
                2,
                None,
            )
            await change(shared.database, value=False)
            shared.switches.seen(3)
            await shared.until(CONFIRMED, worker, 3)
            told = await shared.log.expect(SwitchChanged, epoch=3)
            assert (told.before, told.after) == (True, False)
            assert told.seconds is not None
            assert told.seconds > 0


async def test_it_polls() -> None:
    """A change that nobody announces is found by the next poll."""
    async with parts() as shared:
        worker = await shared.become()
        async with running(child(shared, poll=0.01)):
            await shared.until(CONFIRMED, worker, 1)
            await change(shared.database, name="mail", scope=Scope.QUEUE)
            await shared.until(CONFIRMED, worker, 2)
            assert shared.switches.now.off_queues == ("mail",)


async def test_another_worker_of_the_process_confirms_too() -> None:
    """After the worker was lost and registered anew, the new row has what the process knows."""
    async with parts() as shared:
        first = await shared.become()
        async with running(child(shared, poll=0.01)):
            await shared.until(CONFIRMED, first, 1)
            second = await shared.become()
            await shared.until(CONFIRMED, second, 1)


async def test_what_has_expired_is_turned_back() -> None:
    """A switch is turned back when its time is over, with nobody there to do it."""
    async with parts() as shared:
        worker = await shared.become()
        await change(shared.database)
        await shared.execute("UPDATE supervisor.switches SET expires_at = clock_timestamp() + interval '0.2 s'")
        async with running(child(shared), log=shared.log):
            await shared.until(CONFIRMED, worker, 3)
            assert not shared.switches.now.killed
            assert (await shared.log.expect(SwitchChanged, epoch=3)).actor == "expiry"


async def test_the_listener_and_the_heartbeat_tell_it() -> None:
    """A notification and an answer to a heartbeat each rouse it, only the latter only for a newer epoch."""
    async with parts() as shared:
        await shared.become()
        listener = Child("listener", lambda: Listener(shared.database, shared.wakes, shared.handlers, shared.switches))
        async with running(listener):
            await until(lambda: shared.switches.listening)
            shared.switches.news.clear()
            await change(shared.database)
            await until(lambda: shared.switches.news)
        assert not shared.switches.listening
        shared.switches.news.clear()
        heartbeater = Child(
            "heartbeater",
            lambda: Heartbeater(
                shared.database,
                shared.lease,
                shared.handlers,
                shared.wakes,
                shared.unregistered,
                shared.switches,
                rhythm=Rhythm(lease=30.0, every=0.02),
                hard_limit=60.0,
            ),
        )
        async with running(heartbeater):
            await until(lambda: shared.switches.news)


def test_a_copy_is_followed() -> None:
    """Each follower has a signal of its own, which a value that is not new does not set."""
    switches = Switches()
    first, second = switches.changed, switches.follow()
    assert not switches.put(UNKNOWN)
    assert not first
    assert not second
    newer = control.Switches(5, killed=True, mode=Mode.NORMAL)
    assert switches.put(newer)
    first.clear()
    assert second
    assert switches.now is newer
    switches.seen(5)
    assert not switches.news
    switches.heard(5)
    assert switches.news


# --- what runs ------------------------------------------------------------------------------------------


@asynccontextmanager
async def working(handler: Job[Any]) -> AsyncIterator[Engine]:
    """Give an engine that runs jobs of this handler, with a switchboard."""
    switches = Switches()
    async with job_database() as dsn, engine(dsn, [handler]) as made:
        board = Child("switchboard", lambda: Switchboard(made.database, made.lease, made.tasks, switches, poll=0.05))
        async with running(board):
            yield made


async def test_what_runs_is_cancelled_and_free_again() -> None:
    """A change that stops what runs cancels the handler, at the cost of no attempt, before the worker confirms."""
    began, ended = asyncio.Event(), asyncio.Event()

    @job()
    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with working(endless) as made:
        (number,) = await made.enqueue("endless")
        await began.wait()
        done = await change(made.database, cancel_running=True)
        async with made.database.connection() as link:
            confirmation = await control.confirmed(link, done.epoch, 10.0)
        assert (confirmation.confirmed, confirmation.of) == (1, 1)
        await asyncio.wait_for(ended.wait(), 10)
        await made.until(lambda: made.fetch(FREE, number))
        async with made.database.connection() as link:
            assert await control.stopped(link, done.epoch, 10.0) == 1


async def test_only_what_is_in_scope_is_cancelled() -> None:
    """What runs for another tenant goes on."""
    began, go_on = [], asyncio.Event()

    @job()
    async def work(ctx: JobContext) -> None:
        began.append(ctx.id)
        await go_on.wait()

    async with working(work) as made:
        mine, theirs = await made.enqueue("work", None, None)
        await until(lambda: len(began) == 2)
        await made.fetch("UPDATE supervisor.jobs SET tenant = 'acme' WHERE id = $1", mine)
        done = await change(made.database, scope=Scope.TENANT, name="acme", cancel_running=True)
        async with made.database.connection() as link:
            assert await control.stopped(link, done.epoch, 10.0) == 1
        go_on.set()
        await change(made.database, value=False, scope=Scope.TENANT, name="acme")
        await made.fetch("UPDATE supervisor.jobs SET tenant = NULL")
        made.wakes.note("default")
        assert (await made.ended(theirs))[theirs]["status"] == "completed"
        done_by_itself = (await made.ended(mine))[mine]
        assert (done_by_itself["status"], done_by_itself["interruptions"]) == ("completed", 1)


async def test_a_job_in_its_own_transaction_is_stopped() -> None:
    """A handler inside ctx.transaction() is cancelled too, and what it wrote is undone."""
    began = asyncio.Event()

    @job()
    async def writer(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO supervisor.job_keys (unique_key, job_id) VALUES ('x', 0)")
            began.set()
            await asyncio.Event().wait()

    async with working(writer) as made:
        (number,) = await made.enqueue("writer")
        await began.wait()
        done = await change(made.database, cancel_running=True)
        async with made.database.connection() as link:
            assert await control.stopped(link, done.epoch, 10.0) == 1
        await made.until(lambda: made.fetch(FREE, number))
        assert await made.fetch("SELECT FROM supervisor.job_keys") == []


async def test_what_a_deaf_worker_runs_is_stopped_by_others() -> None:
    """The jobs of a worker that lives and does not listen lose their leases to whoever does."""
    async with parts() as shared:
        deaf = await shared.worker()
        (number,) = await shared.enqueue()
        await shared.claim(deaf)
        await shared.become()
        async with running(child(shared, poll=0.02)):
            await change(shared.database, cancel_running=True)
            await shared.until(FREE, number)
            await shared.until("SELECT FROM supervisor.revocations WHERE done_at IS NOT NULL AND stopped = 1")
