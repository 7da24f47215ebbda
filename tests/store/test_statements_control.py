"""The typed statements on the switches and the audit log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import audit, control, jobs, workers
from supervisor.store.control import Mode, RunningJob, Scope, Switches, Unconfirmed
from tests.store.linked import linked, until_gone
from tests.store.postgres import fresh_database
from tests.store.sql_session import prepare
from tests.store.statement_session import IDENTITY, statements

if TYPE_CHECKING:
    from supervisor.store.link import Link

USUAL = Switches(1, killed=False, mode=Mode.NORMAL)


async def killed(link: Link, *, on: bool = True, cancel_running: bool = False) -> control.Change:
    """Turn the kill switch."""
    return await control.change_switch(
        link, Scope.KILL_SWITCH, None, on, reason="on fire", actor="alice", cancel_running=cancel_running
    )


@pytest.mark.parametrize("schema", ["supervisor", "order"])
async def test_switches_are_changed_and_read(schema: str) -> None:
    """What was changed is read back: the values, by whom, why and until when, and the change says what it was."""
    async with statements(schema) as session:
        link = session.link
        assert await control.read(link) == USUAL
        assert not USUAL.any_off
        assert not USUAL.has_gates
        ends = datetime.now(UTC) + timedelta(hours=2)
        made = await control.change_switch(
            link, Scope.TENANT, "acme", value=True, reason="too loud", actor="bob", source="::1", expires_at=ends
        )
        assert (made.epoch, made.changed, made.before) == (2, True, {"value": False})
        assert (made.after["value"], made.after["actor"], made.after["reason"]) == (True, "bob", "too loud")
        await control.change_switch(link, Scope.MODE, None, Mode.SAFE_MODE, reason="careful", actor="bob")
        found = await control.read(link)
        assert found == Switches(3, killed=False, mode=Mode.SAFE_MODE, off_tenants=("acme",))
        assert found.any_off
        mode, tenant = await control.settings(link)
        assert (mode.scope, mode.name, mode.value, mode.expires_at, mode.epoch) == (
            Scope.MODE,
            None,
            "safe_mode",
            None,
            3,
        )
        assert (tenant.scope, tenant.name, tenant.value, tenant.expires_at) == (Scope.TENANT, "acme", True, ends)
        assert (tenant.reason, tenant.actor) == ("too loud", "bob")
        assert await control.settings(link, Scope.TENANT, "acme") == [tenant]
        assert await control.settings(link, Scope.KIND) == []
        watch = await control.watch(link)
        assert (watch.epoch, watch.revoking) == (3, False)
        assert watch.expires_in is not None
        assert 7000 < watch.expires_in <= 7200


async def test_a_change_that_is_wrong_or_late_is_refused() -> None:
    """The error of a refused change has its code and says what to do."""
    async with statements() as session:
        with pytest.raises(StatementRefused, match="reason is empty") as refused:
            await control.change_switch(session.link, Scope.QUEUE, "mail", value=True, reason=" ", actor="bob")
        assert refused.value.sqlstate == "22023"
        with pytest.raises(StatementRefused) as refused:
            await control.change_switch(
                session.link, Scope.QUEUE, "mail", value=True, reason="r", actor="bob", if_epoch=9
            )
        assert refused.value.sqlstate == control.MOVED_ON
        assert await control.read(session.link) == USUAL


async def test_a_dry_run_tells_what_would_stop() -> None:
    """A dry run has the figures and the jobs that run, and changes nothing."""
    async with statements() as session:
        (running, _, _) = await session.enqueue(3)
        await session.claim(1)
        found = await control.change_switch(
            session.link, Scope.SERVICE, "mailing", value=True, reason="r", actor="bob", dry_run=True
        )
        assert (found.epoch, found.changed, found.stopped_waiting, found.stopped_running) == (1, True, 2, 1)
        assert found.exact
        (job,) = found.running
        assert job == RunningJob(running, "noop", "default", "mailing", None, session.worker, job.claimed_at)
        assert await control.read(session.link) == USUAL


async def test_work_is_checked() -> None:
    """The safety check names what forbids the work, or nothing."""
    async with statements() as session:
        asked = await control.safety_check(session.link, "mailing", "acme")
        assert asked == control.SafetyCheck(True, None, False, False, False, False, False, None, None, 1)  # noqa: FBT003
        await control.change_switch(session.link, Scope.TENANT, "acme", value=True, reason="too loud", actor="bob")
        asked = await control.safety_check(session.link, "mailing", "acme")
        assert (asked.allowed, asked.reason, asked.website_paused) == (False, "tenant:acme", True)
        assert (asked.why, asked.actor) == ("too loud", "bob")
        assert (await control.safety_check(session.link, "mailing")).allowed


async def test_live_workers_confirm() -> None:
    """A confirmation counts the live workers, waits for them, and names those that have not confirmed."""
    async with fresh_database(prepare) as dsn, linked(dsn) as link, linked(dsn) as second:
        one, two, lost = [
            (await workers.register(link, workers.Identity(name=name, host="there", pid=2, version="1"), 60.0)).id
            for name in ("w1", "w2", "w3")
        ]
        await workers.declare_dead(link, ["w3"])
        epoch = (await killed(link)).epoch
        assert await control.confirm(link, one, epoch)
        assert not await control.confirm(link, one, epoch)
        assert not await control.confirm(link, lost, epoch)
        found = await control.confirmed(link, epoch, 0.0)
        assert (found.confirmed, found.of, found.missing) == (1, 2, (Unconfirmed(two, "w2", "there", 0),))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(control.confirmed(second, epoch, 10.0))
            await control.confirm(link, two, epoch + 1)
        assert (waiting.result().confirmed, waiting.result().of, waiting.result().missing) == (2, 2, ())


@pytest.mark.parametrize("schema", ["supervisor", "order"])
async def test_what_runs_is_stopped(schema: str) -> None:
    """A change that revokes stops what runs, and tells how many there were, whoever stopped them."""
    async with statements(schema) as session:
        ids = await session.enqueue(4)
        await session.claim(3)
        made = await killed(session.link, cancel_running=True)
        assert (await control.watch(session.link)).revoking
        assert await control.revoke_held(session.link, session.worker, ids[:1]) == {ids[0]: True}
        found = await control.revoke(session.link)
        assert found is not None
        assert (sorted(found.ids), found.held_up, found.done) == (ids[1:3], False, False)
        assert await control.stopped(session.link, made.epoch, 10.0) == 3
        assert await control.stopped(session.link, made.epoch + 1, 10.0) == 0
        assert not (await control.watch(session.link)).revoking
        assert await jobs.still_held(session.link, ids, [1] * 4) == set()


async def test_what_cannot_be_stopped_yet_is_said() -> None:
    """While a transaction holds a job, the number of the stopped is not known, and nobody waits for ever."""
    async with fresh_database(prepare) as dsn, linked(dsn) as link, linked(dsn) as handler:
        worker = (await workers.register(link, IDENTITY, 60.0)).id
        await link.execute("SELECT supervisor.enqueue('noop')")
        (job,) = await jobs.claim(link, worker, "default", ["noop"], 1)
        async with handler.transaction():
            await handler.execute("SELECT FROM supervisor.jobs FOR UPDATE")
            made = await killed(link, cancel_running=True)
            assert await control.stopped(link, made.epoch, 0.05) is None
        assert await control.stopped(link, made.epoch, 10.0) == 1
        assert await jobs.still_held(link, [job.id], [1]) == set()


async def test_what_expired_is_turned_back() -> None:
    """Switches whose time is over are turned back."""
    async with statements() as session:
        soon = datetime.now(UTC) + timedelta(seconds=60)
        await control.change_switch(
            session.link, Scope.KIND, "noop", value=True, reason="r", actor="bob", expires_at=soon
        )
        await session.link.execute("UPDATE supervisor.switches SET expires_at = now()")
        assert await control.expire(session.link) == [3]
        assert await control.read(session.link) == Switches(3, killed=False, mode=Mode.NORMAL)


async def test_a_frozen_client_does_not_veto_the_kill_switch() -> None:
    """A session that holds the lock and does nothing is ended, and the change is made."""
    async with fresh_database(prepare) as dsn, linked(dsn) as link, linked(dsn) as frozen:
        await frozen.raw.execute("BEGIN")
        await frozen.raw.execute("SELECT supervisor.control_lock_shared()")
        assert (await killed(link)).changed
        await until_gone(link, frozen)


async def test_inside_a_transaction_a_change_is_tried_once() -> None:
    """A change in the caller's transaction fails where it cannot have the lock, since that transaction has failed."""
    async with fresh_database(prepare) as dsn, linked(dsn) as link, linked(dsn) as other:
        async with other.transaction():
            await other.execute("SELECT supervisor.control_lock_shared()")
            with pytest.raises(DatabaseUnavailable, match="cannot be changed now"):
                async with link.transaction():
                    await killed(link)
        assert (await killed(link)).changed


# --- the audit log --------------------------------------------------------------------------------------


async def test_the_log_is_written_listed_and_exported() -> None:
    """Rows come back as they were written, the newest first or in order, and only those that were asked for."""
    async with statements() as session:
        link = session.link
        made = await killed(link)
        number = await audit.write(
            link,
            "activate_kill_switch",
            actor="mallory",
            scope="kill_switch",
            reason="fun",
            accepted=False,
            source="::1",
        )
        await killed(link, on=False)
        newest, refused, first = await audit.listed(link, 10)
        assert (first.id, first.actor, first.epoch, first.before, first.after) == (
            1,
            "alice",
            2,
            made.before,
            made.after,
        )
        assert (refused.id, refused.accepted, refused.source, refused.before) == (number, False, "::1", None)
        assert await audit.listed(link, 1) == [newest]
        assert await audit.listed(link, 10, before_id=3) == [refused, first]
        assert await audit.listed(link, 10, accepted=False) == [refused]
        assert await audit.listed(link, 10, actor="alice", scope="kill_switch", since=first.created_at) == [
            newest,
            first,
        ]
        assert await audit.listed(link, 10, name="acme") == []
        assert await audit.exported(link, 1, 10) == [refused, newest]
        assert await audit.changes(link, 1, 3, 10) == [first, newest]
        assert await audit.changes(link, 1, 3, 1) == [newest]


async def test_the_log_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole log has an end to write down, and a log that was made anew does not have it."""
    monkeypatch.setattr(audit, "STEP", 3)
    async with statements() as session:
        link = session.link
        for number in range(7):
            await audit.write(link, "try", actor=f"a{number}")
        found = await audit.verify(link)
        assert (found.is_whole, found.checked, found.end.id) == (True, 7, 7)
        await audit.write(link, "try", actor="later")
        assert (await audit.verify(link, anchor=found.end)).is_whole
        forged = audit.Anchor(found.end.id, b"\0" * 32)
        assert (await audit.verify(link, anchor=forged)).first_bad == 7
        await link.execute("ALTER TABLE supervisor.system_audit_log DISABLE TRIGGER USER")
        await link.execute("DELETE FROM supervisor.system_audit_log WHERE id = 5")
        broken = await audit.verify(link)
        assert (broken.is_whole, broken.checked, broken.first_bad) == (False, 4, 5)
