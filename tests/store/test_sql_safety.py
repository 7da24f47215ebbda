"""The safety check in the database: the same answer as a claim would get, with who said so and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.store.sql_session import connected, schema, session, waits_for_lock
from tests.store.switching import change

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

CHECK = "SELECT * FROM supervisor.safety_check($1, $2, $3, $4, $5, $6)"


async def safety(opened: Connection, *work: object) -> Record:
    """Ask for work of a service, a tenant, whether it changes anything, a queue, a kind, whether it is essential."""
    row = await opened.fetchrow(CHECK, *work)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("scope", "name", "value", "work", "reason"),
    [
        ("kill_switch", None, True, ("s", "t", False, "q", "k", True), "kill_switch"),
        ("mode", None, "observe_only", ("s", "t", True, "q", "k", True), "mode:observe_only"),
        ("mode", None, "observe_only", ("s", "t", False, "q", "k", False), None),
        ("mode", None, "observe_only", ("s", "t", None, "q", "k", None), "mode:observe_only"),
        ("mode", None, "safe_mode", ("s", "t", False, "q", "k", False), "mode:safe_mode"),
        ("mode", None, "safe_mode", ("s", "t", False, "q", "k", None), "mode:safe_mode"),
        ("mode", None, "safe_mode", ("s", "t", True, "q", "k", True), None),
        ("service", "s:1", True, ("s:1", None, False, None, None, True), "service:s:1"),
        ("service", "s", True, (None, None, False, None, None, True), None),
        ("tenant", "t", True, ("s", "t", False, "q", "k", True), "tenant:t"),
        ("tenant", "t", True, ("s", None, False, "q", "k", True), None),
        ("queue", "q", True, ("s", "t", False, "q", "k", True), "queue:q"),
        ("kind", "k", True, ("s", "t", False, "q", "k", True), "kind:k"),
        ("kind", "k", True, ("s", "t", False, "q", "other", True), None),
    ],
)
async def test_the_safety_check_says_what_forbids_work(
    scope: str, name: str | None, value: bool | str, work: tuple[object, ...], reason: str | None
) -> None:
    """Work is allowed unless something forbids it, which is named together with who said so and why."""
    async with connected() as opened:
        free = await safety(opened, *work)
        assert (free["allowed"], free["reason"], free["why"], free["epoch"]) == (True, None, None, 1)
        assert not any(
            free[flag]
            for flag in (
                "global_kill_switch",
                "service_disabled",
                "website_paused",
                "observe_only_mode",
                "safe_mode",
            )
        )
        await change(opened, scope, name, value, reason="on fire", actor="alice")
        asked = await safety(opened, *work)
        assert (asked["allowed"], asked["reason"]) == (reason is None, reason)
        assert (asked["why"], asked["actor"]) == ((None, None) if reason is None else ("on fire", "alice"))
        assert asked["global_kill_switch"] == (scope == "kill_switch")
        assert asked["observe_only_mode"] == (value == "observe_only")
        assert asked["safe_mode"] == (value == "safe_mode")
        assert asked["service_disabled"] == (scope == "service" and work[0] == name)
        assert asked["website_paused"] == (scope == "tenant" and work[1] == name)


async def test_a_switch_waits_for_work_that_was_checked() -> None:
    """Work that is checked in its own transaction is done before the switch is changed."""
    async with schema() as dsn, session(dsn) as work, session(dsn) as switch, session(dsn) as watcher:
        under_way = work.transaction()
        await under_way.start()
        assert (await safety(work, "s", None, None, None, None, None))["allowed"]
        async with asyncio.TaskGroup() as group:
            changed = group.create_task(change(switch, "kill_switch"))
            await waits_for_lock(watcher, switch)
            await under_way.commit()
        assert changed.result()["changed"]
