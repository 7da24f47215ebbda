"""Parking: what a switch or a gate stops goes out of the way, and comes back in its order and as it was."""

from __future__ import annotations

import pytest

from tests.store.sql_parking import all_on, lines, park, switch, unpark
from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_suspects,
    claim_tenants,
    connected,
    count,
    enqueue,
    hand_back,
    pairs_of,
    schema,
    session,
)

ROWS = "SELECT jobs::text FROM supervisor.jobs ORDER BY id"
LARGE = """
INSERT INTO supervisor.jobs_waiting (kind, queue, service, tenant, args, reason, due_at, line)
SELECT 'noop', 'default', 'default', 'a', '{}', 'paused', 'infinity', 'tenant:a'
FROM generate_series(1, $1::integer)"""
READ = """
SELECT sum(pg_stat_get_xact_tuples_returned(relation))::bigint
FROM unnest(ARRAY['jobs', 'jobs_pkey', 'jobs_waiting', 'jobs_waiting_pkey', 'jobs_waiting_paused', 'jobs_waiting_due'])
         AS name, LATERAL CAST('supervisor.' || name AS regclass) AS relation"""


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("off_services = '{default}'", "service:default"),
        ("off_tenants = '{acme,other}'", "tenant:acme"),
        ("off_kinds = '{noop}'", "kind:noop"),
        ("mode = 'observe_only'", "mode:observe_only"),
        ("mode = 'safe_mode'", "mode:safe_mode"),
        ("mode = 'safe_mode', killed = true, off_queues = '{default}'", "mode:safe_mode"),
    ],
)
async def test_what_is_stopped_is_parked_and_comes_back_as_it_was(change: str, line: str) -> None:
    """Jobs of a scope that is off wait behind its switch, and when it is on again their rows are what they were."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.fetchval(
            """SELECT supervisor.enqueue('noop', '{"a": [1, null]}', tenant => 'acme', priority => 3,
               unique_key => 'k', trace_parent => 't')"""
        )
        await hand_back(opened, pairs_of(await claim_tenants(opened, worker, {"acme": 1})), "retry", 0, "went wrong")
        await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', tenant => 'acme')")
        await opened.execute("UPDATE supervisor.jobs SET losses = 2 WHERE id = 2")
        before = await opened.fetch(ROWS)
        await switch(opened, change)
        assert await park(opened) == 2
        assert await lines(opened) == {1: ("paused", line), 2: ("paused", line)}
        assert await park(opened) == 0
        assert await unpark(opened) == (0, False)
        await all_on(opened)
        assert await unpark(opened) == (2, False)
        assert await opened.fetch(ROWS) == before
        assert await lines(opened) == {}


@pytest.mark.parametrize("change", ["killed = true", "off_queues = '{default}'", "off_tenants = '{other}'"])
async def test_nothing_is_parked_where_the_claim_returns_at_once(change: str) -> None:
    """Everything stopped, or a queue, or somebody else moves no job."""
    async with connected() as opened:
        await enqueue(opened, 3)
        await switch(opened, change)
        assert await park(opened) == 0
        assert await count(opened, "jobs") == 3


async def test_what_runs_stays() -> None:
    """A job that is claimed is not parked, and its end is written as ever."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        (held,) = pairs_of(await claim(opened, worker, 1))
        await switch(opened, "off_kinds = '{noop}'")
        assert await park(opened) == 1
        assert await opened.fetchval("SELECT supervisor.complete($1, $2)", [held[0]], [held[1]]) == held[0]


async def test_a_table_is_looked_through_in_parts() -> None:
    """Each call looks at so many blocks, and together they find every job among others that stay."""
    async with connected() as opened:
        await opened.execute(
            "INSERT INTO supervisor.jobs (kind, queue, service, tenant, args) SELECT 'noop', 'default', 'default', "
            "CASE WHEN number % 3 = 0 THEN 'acme' ELSE 'b' END, '{}' FROM generate_series(1, 3000) AS number"
        )
        await switch(opened, "off_tenants = '{acme}'")
        assert await opened.fetchval("SELECT moved FROM supervisor.park(0, 2)") < 100
        assert await park(opened, blocks=3) > 900
        assert await count(opened, "jobs_waiting") == 1000
        assert await opened.fetchval("SELECT count(*) FROM supervisor.jobs WHERE tenant = 'acme'") == 0


async def test_they_come_back_in_their_order() -> None:
    """However small the parts in which jobs come back, those come first that are claimed first."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.execute(
            "INSERT INTO supervisor.jobs (kind, queue, service, args, priority, run_at) SELECT 'noop', 'default', "
            "'default', '{}', number % 3, now() - interval '1 s' * (number % 7) FROM generate_series(1, 60) AS number"
        )
        order = "SELECT id FROM supervisor.{} ORDER BY priority, run_at, id"
        wanted = [row["id"] for row in await opened.fetch(order.format("jobs"))]
        await switch(opened, "off_services = '{default}'")
        assert await park(opened) == 60
        await all_on(opened)
        taken: list[int] = []
        while len(taken) < 60:
            assert (await unpark(opened, 7))[0] > 0
            taken += [row["id"] for row in sorted(await claim(opened, worker, 60), key=lambda row: row["id"])]
            here = {*taken}
            assert here == {*wanted[: len(taken)]}
        assert await unpark(opened) == (0, False)


async def test_lines_that_open_together_come_back_together() -> None:
    """One tenant's jobs do not wait until all those of another have come back."""
    async with connected() as opened:
        await opened.execute(
            "INSERT INTO supervisor.jobs (kind, queue, service, tenant, args) SELECT 'noop', 'default', 'default', "
            "CASE WHEN number = 500 THEN 'z' ELSE 'a' END, '{}' FROM generate_series(1, 500) AS number"
        )
        await switch(opened, "off_tenants = '{a,z}'")
        assert await park(opened) == 500
        await all_on(opened)
        moved, left_over = await unpark(opened, 100)
        assert left_over
        assert 50 <= moved <= 100
        assert await opened.fetchval("SELECT count(*) FROM supervisor.jobs WHERE tenant = 'z'") == 1


async def test_what_something_else_stops_changes_its_line() -> None:
    """A job whose switch is on again but which another stops goes behind that one, and does not pass by `jobs`."""
    async with connected() as opened:
        await opened.fetchval("SELECT supervisor.enqueue('noop', tenant => 'acme')")
        await switch(opened, "off_services = '{default}', off_tenants = '{acme}', mode = 'safe_mode'")
        assert await park(opened) == 1
        for change, line in [
            ("mode = 'observe_only'", "mode:observe_only"),
            ("mode = 'normal'", "service:default"),
            ("off_services = '{}'", "tenant:acme"),
        ]:
            await switch(opened, change)
            assert await unpark(opened) == (1, False)
            assert await lines(opened) == {1: ("paused", line)}
            assert await count(opened, "jobs") == 0
        await switch(opened, "off_tenants = '{}', gated_kinds = '{noop}'")
        assert await unpark(opened) == (1, False)
        assert (await lines(opened))[1][0] == "limited"


async def test_what_needs_a_permit_goes_behind_its_gate() -> None:
    """A job in `jobs` that needs a permit is moved to the line of its gate, and back when there is no gate any more."""
    async with connected() as opened:
        await add_kind(opened, "other")
        await enqueue(opened, 2)
        await enqueue(opened, 1, kind="other")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 WHERE id = 2")
        before = await opened.fetch(ROWS)
        await switch(opened, "gated_kinds = '{noop}'")
        assert await park(opened) == 2
        line = await opened.fetchval("SELECT supervisor.gate_line('default', 'noop', 'default', NULL, '{}')")
        assert await lines(opened) == {1: ("limited", line), 2: ("limited", line)}
        assert await unpark(opened) == (0, False)
        await all_on(opened)
        assert await unpark(opened, gates=False) == (0, False)
        assert await unpark(opened) == (2, False)
        assert await opened.fetch(ROWS) == before


@pytest.mark.parametrize(
    ("change", "reason"), [("off_tenants = '{acme}'", "paused"), ("gated_tenanted = true", "limited")]
)
async def test_what_is_due_but_stopped_changes_its_line(change: str, reason: str) -> None:
    """A job whose time has come while something stops it waits for that, and others beside it go on."""
    async with connected() as opened:
        for tenant in ("acme", None):
            await opened.fetchval(
                "SELECT supervisor.enqueue('noop', tenant => $1, run_at => now() + interval '1 h')", tenant
            )
        await opened.execute("UPDATE supervisor.jobs_waiting SET due_at = now()")
        await switch(opened, change)
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 2
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 0
        assert [row["id"] for row in await opened.fetch("SELECT id FROM supervisor.jobs")] == [2]
        assert {job: found[0] for job, found in (await lines(opened)).items()} == {1: reason}
        await all_on(opened)
        assert await unpark(opened) == (1, False)
        assert await count(opened, "jobs") == 2


async def test_neither_waits_for_a_claim_nor_lets_one_wait() -> None:
    """What a claim has locked is left alone, and a claim passes by what is being moved."""
    async with schema() as dsn, session(dsn) as mover, session(dsn) as claimer:
        worker = await add_worker(mover)
        await enqueue(mover, 10)
        for opened in (mover, claimer):
            await opened.execute("SET lock_timeout = '2s'")
        async with claimer.transaction():
            await claim(claimer, worker, 4)
            await switch(mover, "off_kinds = '{noop}'")
            assert await park(mover) == 6
        await all_on(mover)
        async with mover.transaction():
            assert await unpark(mover, 3) == (3, True)
            assert await claim(claimer, worker) == []
        async with mover.transaction():
            await switch(mover, "off_kinds = '{noop}'")
            assert await park(mover) == 3
            assert await claim(claimer, worker) == []
            assert await claim_suspects(claimer, worker) == []


async def test_how_many_are_parked_does_not_matter() -> None:
    """What there is to do is told, and some jobs are brought back, without a look at all that wait."""
    async with connected() as opened:
        await opened.execute(LARGE, 50_000)
        await switch(opened, "off_tenants = '{a}'")
        async with opened.transaction():
            before = await opened.fetchval(READ)
            row = await opened.fetchrow("SELECT pass_due, paused FROM supervisor.parking_state()")
            assert row is not None
            assert tuple(row) == (True, True)
            assert await unpark(opened) == (0, False)
            assert await opened.fetchval("SELECT supervisor.promote(10)") == 0
            await all_on(opened)
            assert await unpark(opened, 100) == (100, True)
            assert await opened.fetchval(READ) - before < 1000


async def test_one_host_at_a_time_looks_through_everything() -> None:
    """A turn is one host's until it ends or lapses, and what was looked through is due for nobody."""
    async with connected() as opened:
        take, end = "SELECT supervisor.take_parking_turn($1, $2)", "SELECT supervisor.end_parking_turn($1, $2, $3)"
        due = "SELECT pass_due FROM supervisor.parking_state()"
        assert not await opened.fetchval(due)
        await switch(opened, "off_tenants = '{a}'")
        assert await opened.fetchval(due)
        assert await opened.fetchval(take, "one", 60.0)
        assert await opened.fetchval(take, "one", 60.0)
        assert not await opened.fetchval(take, "two", 60.0)
        epoch = await opened.fetchval("SELECT epoch FROM supervisor.control")
        await opened.execute(end, "two", epoch, 60.0)
        assert await opened.fetchval(due)
        await opened.execute(end, "one", epoch, 60.0)
        assert not await opened.fetchval(due)
        assert await opened.fetchval(take, "two", -1.0)
        assert await opened.fetchval(take, "one", 60.0)
        await switch(opened, "off_tenants = '{b}'")
        assert await opened.fetchval(due)
        await opened.execute(end, "one", epoch + 1, 0.0)
        assert await opened.fetchval(due)
