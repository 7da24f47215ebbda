"""The switches in the database: a change is whole or not at all, and after its commit nothing in its scope starts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import add_kind, add_worker, claim, connected, enqueue, schema, session, waits_for_lock
from tests.store.switching import LOCK_SHARED, change, control, expire, log, make_due, written

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPES = [
    ("kill_switch", None, True, "activate_kill_switch", "deactivate_kill_switch"),
    ("mode", None, "safe_mode", "set_mode", "set_mode"),
    ("mode", None, "observe_only", "set_mode", "set_mode"),
    ("service", "default", True, "disable_service", "enable_service"),
    ("tenant", "acme", True, "pause_tenant", "resume_tenant"),
    ("queue", "default", True, "pause_queue", "resume_queue"),
    ("kind", "noop", True, "pause_kind", "resume_kind"),
]


def usual(value: bool | str) -> bool | str:
    """Return what undoes a change to this value."""
    return "normal" if isinstance(value, str) else False


@pytest.mark.parametrize(("scope", "name", "value", "on", "off"), SCOPES)
async def test_a_change_is_written_as_a_whole(
    scope: str, name: str | None, value: bool | str, on: str, off: str
) -> None:
    """Each change moves the epoch by one, says what it was and is, and leaves one row in the audit log."""
    async with connected() as opened:
        before = await control(opened)
        first = await change(opened, scope, name, value, reason="on fire", actor="alice")
        assert (first["epoch"], first["changed"]) == (2, True)
        held = await opened.fetchrow("SELECT * FROM supervisor.switches")
        assert held is not None
        assert (held["scope"], held["name"], json.loads(held["value"]), held["reason"], held["actor"]) == (
            scope,
            name or "",
            value,
            "on fire",
            "alice",
        )
        second = await change(opened, scope, name, usual(value), reason="put out", actor="bob")
        assert (second["epoch"], second["before"]) == (3, first["after"])
        assert await opened.fetch("SELECT * FROM supervisor.switches") == []
        after = await control(opened)
        assert (after.pop("epoch"), after.pop("updated_at") > before.pop("updated_at")) == (3, True)
        before.pop("epoch")
        assert after == before
        rows = await log(opened)
        assert [
            (row["action_type"], row["scope"], row["name"], row["actor"], row["reason"], row["epoch"]) for row in rows
        ] == [
            (on, scope, name, "alice", "on fire", 2),
            (off, scope, name, "bob", "put out", 3),
        ]
        assert [(row["before"], row["after"]) for row in rows] == [
            (first["before"], first["after"]),
            (second["before"], second["after"]),
        ]
        assert json.loads(first["before"]) == {"value": usual(value)}
        assert json.loads(first["after"])["value"] == value


async def test_what_is_set_already_is_no_change() -> None:
    """Setting a switch again writes nothing, nor does turning on what is on; another expiry is a change."""
    async with connected() as opened:
        assert not (await change(opened, "service", "mail", value=False))["changed"]
        assert (await change(opened, "service", "mail"))["changed"]
        before = await written(opened)
        again = await change(opened, "service", "mail", reason="another", actor="other")
        assert (again["epoch"], again["changed"], again["before"]) == (2, False, again["after"])
        assert await written(opened) == before
        later = await change(opened, "service", "mail", expires=60.0)
        assert (later["epoch"], later["changed"]) == (3, True)
        assert json.loads(later["after"])["since"] == json.loads(later["before"])["since"]
        assert "expires_at" in json.loads(later["after"])
        assert (await change(opened, "service", "mail", cancel=True))["changed"]


async def test_a_change_that_is_undone_leaves_nothing() -> None:
    """A change whose transaction is rolled back has moved no epoch and left no gap in the audit log."""
    async with connected() as opened:
        before = await written(opened)
        undone = opened.transaction()
        await undone.start()
        assert (await change(opened, "kill_switch"))["changed"]
        await undone.rollback()
        assert await written(opened) == before
        await change(opened, "kill_switch")
        assert [row["id"] for row in await log(opened)] == [1]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"scope": "planet"}, "scope"),
        ({"scope": "kill_switch", "name": "all"}, "name"),
        ({"scope": "mode", "name": "x", "value": "safe_mode"}, "name"),
        ({"scope": "tenant", "name": None}, "name"),
        ({"scope": "tenant", "name": ""}, "name"),
        ({"scope": "tenant", "name": "x" * 129}, "name"),
        ({"scope": "kind", "name": "a\x07b"}, "name"),
        ({"scope": "kill_switch", "value": "true"}, "value"),
        ({"scope": "kill_switch", "value": None}, "value"),
        ({"scope": "mode", "value": True}, "value"),
        ({"scope": "mode", "value": "chaos"}, "value"),
        ({"scope": "kill_switch", "reason": None}, "reason"),
        ({"scope": "kill_switch", "reason": " \n"}, "reason"),
        ({"scope": "kill_switch", "reason": "x" * 1001}, "reason"),
        ({"scope": "kill_switch", "actor": None}, "actor"),
        ({"scope": "kill_switch", "actor": ""}, "actor"),
        ({"scope": "kill_switch", "actor": "x" * 257}, "actor"),
        ({"scope": "kill_switch", "expires": -1.0}, "expires_at"),
        ({"scope": "kill_switch", "expires": 1e11}, "expires_at"),
        ({"scope": "kill_switch", "value": False, "expires": 60.0}, "expires_at"),
    ],
)
async def test_a_wrong_change_is_refused(given: Mapping[str, object], named: str) -> None:
    """What cannot be is refused with the name of the field, dry or not, and nothing is written."""
    async with connected() as opened:
        before = await written(opened)
        for dry_run in (False, True):
            with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{named} "):
                await change(opened, dry_run=dry_run, **given)  # type: ignore[arg-type]
        assert await written(opened) == before


async def test_a_change_that_came_too_late_is_refused() -> None:
    """With the epoch that somebody saw, a change is made only if nothing was changed since."""
    async with connected() as opened:
        seen = (await control(opened))["epoch"]
        assert (await change(opened, "kill_switch", if_epoch=seen))["epoch"] == seen + 1
        with pytest.raises(asyncpg.PostgresError, match="epoch is 2, not 1") as refused:
            await change(opened, "kill_switch", value=False, if_epoch=seen)
        assert refused.value.sqlstate == "SV003"


async def test_too_many_names_are_refused() -> None:
    """The list that each claim reads is bounded, and the hint says what to use instead."""
    async with connected() as opened:
        await opened.execute(
            "UPDATE supervisor.control SET off_tenants = ARRAY(SELECT 't' || n FROM generate_series(1, 10000) AS n)"
        )
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await change(opened, "tenant", "one more")
        assert (await change(opened, "tenant", "t7", value=False))["changed"]


@pytest.mark.parametrize(("scope", "name", "value", "on", "off"), SCOPES)
async def test_nothing_in_scope_starts(scope: str, name: str | None, value: bool | str, on: str, off: str) -> None:
    """After the commit of a change a claim gives only what is out of its scope, and all again when it is undone."""
    del on, off
    async with connected() as opened:
        worker = await add_worker(opened)
        await add_kind(opened, "other", essential=True)
        await opened.execute("UPDATE supervisor.job_kinds SET service = 'o', changes = false WHERE kind = 'other'")
        inside = await enqueue(opened, 3)
        outside = await enqueue(opened, 3, kind="other")
        await change(opened, scope, name, value)
        free = {row["id"] for row in await claim(opened, worker, kinds=["noop", "other"])}
        if scope in {"kill_switch", "queue"}:
            assert free == set()
        elif scope == "tenant":  # theirs have none
            assert free == {*inside, *outside}
        else:
            assert free == {*outside}
        await change(opened, scope, name, usual(value))
        rest = {row["id"] for row in await claim(opened, worker, kinds=["noop", "other"])}
        assert free | rest == {*inside, *outside}


async def test_a_change_waits_for_claims_and_later_claims_see_it() -> None:
    """A change is made after the claims that are under way, and before those that came while it waited."""
    async with schema() as dsn, session(dsn) as early, session(dsn) as switch, session(dsn) as late:
        worker = await add_worker(early)
        jobs = await enqueue(early, 4)
        under_way = early.transaction()
        await under_way.start()
        assert len(await claim(early, worker, 2)) == 2
        async with session(dsn) as watcher, asyncio.TaskGroup() as group:
            changed = group.create_task(change(switch, "kill_switch"))
            await waits_for_lock(watcher, switch)
            behind = group.create_task(claim(late, worker))
            await waits_for_lock(watcher, late)
            await under_way.commit()
        assert changed.result()["epoch"] == 2
        assert behind.result() == []
        assert await late.fetchval("SELECT count(*) FROM supervisor.jobs WHERE claimed_by IS NULL") == len(jobs) - 2


async def test_a_stuck_claim_does_not_hold_a_change_for_ever() -> None:
    """A change gives up after 2 s, says who is in the way, writes nothing, and lets the claims behind it by."""
    async with schema() as dsn, session(dsn) as stuck, session(dsn) as switch, session(dsn) as other:
        worker = await add_worker(other)
        await enqueue(other, 1)
        before = await written(other)
        held = stuck.transaction()
        await held.start()
        await stuck.execute(LOCK_SHARED)
        with pytest.raises(asyncpg.PostgresError, match=f"process {stuck.get_server_pid()}") as refused:
            async with asyncio.timeout(10):
                await change(switch, "kill_switch")
        assert refused.value.sqlstate == "SV005"
        assert len(await claim(other, worker)) == 1
        assert await written(other) == before
        await held.rollback()
        assert (await change(switch, "kill_switch"))["changed"]


async def test_changes_are_counted_one_by_one() -> None:
    """Changes from many sessions at once each have an epoch and an audit row of their own."""
    async with schema() as dsn, session(dsn) as opened:

        async def flip(number: int) -> list[int]:
            async with session(dsn) as other:
                return [(await change(other, "tenant", f"t{number}", value=on))["epoch"] for on in (True, False) * 5]

        async with asyncio.TaskGroup() as group:
            made = [group.create_task(flip(number)) for number in range(6)]
        epochs = [epoch for each in made for epoch in each.result()]
        assert sorted(epochs) == list(range(2, 62))
        assert [row["epoch"] for row in await log(opened)] == list(range(2, 62))
        assert (await control(opened))["off_tenants"] == []


async def test_everybody_is_told_at_the_commit() -> None:
    """The channel of the switches has each new epoch, once the change has committed."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with connected() as opened:
        await opened.add_listener("supervisor_control", lambda *given: heard.put_nowait(str(given[3])))
        async with opened.transaction():
            await change(opened, "kill_switch")
            assert heard.empty()
        assert await asyncio.wait_for(heard.get(), 10) == "2"
        await change(opened, "kill_switch")
        await opened.fetchval("SELECT 1")
        assert heard.empty()


# --- dry runs ---------------------------------------------------------------------------------------


async def test_a_dry_run_writes_nothing_and_takes_no_lock() -> None:
    """A dry run has no transaction to commit, holds no lock of the switches, and tells what would be so."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 5)
        running = await claim(opened, worker, 2)
        await opened.fetchval("SELECT supervisor.enqueue('noop', run_at => now() + interval '1 h')")
        before = await written(opened)
        async with opened.transaction():
            found = await change(opened, "service", "default", dry_run=True, cancel=True)
            assert await opened.fetchval("SELECT pg_current_xact_id_if_assigned()") is None
            assert await opened.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert (found["epoch"], found["changed"], found["stopped_waiting"], found["stopped_running"]) == (1, True, 4, 2)
        assert found["exact"]
        told = json.loads(found["running"])
        assert [job["id"] for job in told] == sorted(row["id"] for row in running)
        assert {(job["kind"], job["worker"]) for job in told} == {("noop", worker)}
        assert await written(opened) == before
        none = await change(opened, "service", "elsewhere", dry_run=True)
        assert (none["stopped_waiting"], none["stopped_running"]) == (0, 0)


async def test_a_dry_run_reckons_what_it_does_not_count() -> None:
    """Of many waiting jobs only a part is looked at, and the figure is near the truth."""
    async with connected() as opened:
        await opened.execute(
            "INSERT INTO supervisor.jobs (kind, queue, service, tenant, args) "
            "SELECT 'noop', 'default', 'default', CASE WHEN n % 2 = 0 THEN 'acme' END, '{}' "
            "FROM generate_series(1, 40000) AS n"
        )
        worker = await add_worker(opened)
        await claim(opened, worker, 3)
        found = await change(opened, "tenant", "acme", dry_run=True)
        assert not found["exact"]
        assert 10_000 < found["stopped_waiting"] < 30_000
        assert (await change(opened, "kill_switch", dry_run=True))["stopped_running"] == 3


# --- expiry -------------------------------------------------------------------------------------------


async def test_what_has_expired_is_turned_back() -> None:
    """A switch whose time is over is turned back with an audit row, once, and no other is touched."""
    async with connected() as opened:
        await change(opened, "tenant", "acme", reason="too loud", expires=60.0)
        await change(opened, "tenant", "beta")
        assert await expire(opened) == []
        await make_due(opened)
        assert await expire(opened) == [4]
        assert await expire(opened) == []
        assert (await control(opened))["off_tenants"] == ["beta"]
        last = (await log(opened))[-1]
        assert (last["action_type"], last["actor"], last["reason"]) == (
            "resume_tenant",
            "expiry",
            "expired; it was: too loud",
        )


@pytest.mark.parametrize(
    ("modes", "back"),
    [
        ([("observe_only", 60.0)], "normal"),
        ([("safe_mode", None), ("observe_only", 60.0)], "safe_mode"),
        ([("safe_mode", None), ("observe_only", 60.0), ("observe_only", 90.0)], "safe_mode"),
        ([("safe_mode", 60.0), ("observe_only", 60.0)], "normal"),
        ([("safe_mode", None), ("observe_only", 60.0), ("safe_mode", 60.0)], "safe_mode"),
    ],
)
async def test_a_mode_for_some_time_goes_back(modes: list[tuple[str, float | None]], back: str) -> None:
    """A mode that expires goes back to the last one that was set without an end."""
    async with connected() as opened:
        for mode, expires in modes:
            await change(opened, "mode", None, mode, expires=expires)
        await make_due(opened)
        assert len(await expire(opened)) == 1
        assert (await control(opened))["mode"] == back
        assert await opened.fetchval("SELECT count(*) FROM supervisor.switches") == (back != "normal")


async def test_hosts_turn_back_together() -> None:
    """Of several hosts that find the same switches expired, each is turned back by one."""
    async with schema() as dsn, session(dsn) as opened:
        for number in range(30):
            await change(opened, "kind", f"k{number}", expires=60.0)
        await make_due(opened)

        async def host() -> list[int]:
            done: list[int] = []
            async with session(dsn) as other:
                while await other.fetchval("SELECT EXISTS (SELECT FROM supervisor.switches)"):
                    done += await expire(other)
            return done

        async with asyncio.TaskGroup() as group:
            hosts = [group.create_task(host()) for _ in range(4)]
        assert sorted(epoch for each in hosts for epoch in each.result()) == list(range(32, 62))


async def test_an_expiry_does_not_wait_for_a_stuck_claim() -> None:
    """Where the lock of the switches is held, what has expired is left to the next look."""
    async with schema() as dsn, session(dsn) as stuck, session(dsn) as opened:
        await change(opened, "kill_switch", expires=60.0)
        await make_due(opened)
        async with stuck.transaction():
            await stuck.execute(LOCK_SHARED)
            assert await expire(opened) == []
        assert await expire(opened) == [3]
