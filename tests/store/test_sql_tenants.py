"""The claim of tenants' jobs: each tenant is found by one step, and some jobs of each are taken in their order."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_in_order,
    claim_tenants,
    complete,
    connected,
    enqueue,
    expire,
    pairs_of,
    schema,
    session,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.store.sql_session import Connection, Pair

READ = """
SELECT sum(pg_stat_get_xact_tuples_returned(relation))::bigint
FROM unnest(ARRAY['jobs', 'jobs_pkey', 'jobs_ready', 'jobs_tenants', 'jobs_in_order']) AS name,
     LATERAL CAST('supervisor.' || name AS regclass) AS relation"""
LARGE = """
INSERT INTO supervisor.jobs (kind, queue, service, tenant, args)
SELECT 'noop', 'default', 'default', $1, '{}' FROM generate_series(1, $2::integer)"""


async def put(opened: Connection, tenants: Mapping[str | None, int]) -> None:
    """Enqueue so many jobs of each tenant."""
    names = [tenant for tenant, count in tenants.items() for _ in range(count)]
    await opened.fetch(
        "SELECT supervisor.enqueue_many($1, $2, tenants => $3)", ["noop"] * len(names), ["{}"] * len(names), names
    )


async def ready(opened: Connection, after: str | None = None, most: int = 100, queue: str = "default") -> list[str]:
    """Return the names of tenants with jobs."""
    rows = await opened.fetch("SELECT tenant FROM supervisor.ready_tenants($1, $2, $3)", queue, after, most)
    return [row["tenant"] for row in rows]


def by_tenant(rows: list[asyncpg.Record]) -> dict[str, int]:
    """Count the jobs of each tenant."""
    return dict(Counter(row["tenant"] for row in rows))


async def test_each_claim_has_jobs_of_its_own() -> None:
    """Jobs of tenants and those without one are claimed each by its own function, and by no other."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await put(opened, {None: 2, "a": 3, "b": 1})
        assert await ready(opened) == ["a", "b"]
        assert by_tenant(await claim(opened, worker)) == {None: 2}
        rows = await claim_tenants(opened, worker, {"a": 2, "b": 2, "c": 2})
        assert by_tenant(rows) == {"a": 2, "b": 1}
        assert {row["lock_version"] for row in rows} == {1}
        assert await ready(opened) == ["a"]
        assert await complete(opened, pairs_of(rows)) == {row["id"] for row in rows}


async def test_tenants_are_listed_in_pages_with_their_weights() -> None:
    """Each page goes on behind the last name, and a tenant without a weight of its own has 1."""
    async with connected() as opened:
        await put(opened, {"a": 1, "b": 2, "c": 1, "d": 1})
        await opened.execute("INSERT INTO supervisor.tenants (tenant, weight) VALUES ('b', 2.5)")
        rows = await opened.fetch("SELECT * FROM supervisor.ready_tenants('default', NULL, 2)")
        assert [tuple(row) for row in rows] == [("a", 1.0), ("b", 2.5)]
        assert await ready(opened, "b", 2) == ["c", "d"]
        assert await ready(opened, "d") == []
        assert await ready(opened, queue="other") == []


async def test_the_order_of_a_tenant_is_priority_then_time_then_id() -> None:
    """Of one tenant's jobs those come first that would come first in any queue, and a cursor skips what is before."""
    async with connected() as opened:
        worker = await add_worker(opened)
        call = "SELECT supervisor.enqueue('noop', tenant => 'a', priority => $1, run_at => now() - interval '1 h' * $2)"
        late, soon, first, older = [
            await opened.fetchval(call, priority, hours) for priority, hours in ((0, 0), (0, 0), (-5, 0), (0, 1))
        ]
        taken = [(await claim_tenants(opened, worker, {"a": 1}))[0] for _ in range(4)]
        assert [row["id"] for row in taken] == [first, older, late, soon]
        await opened.execute("UPDATE supervisor.jobs SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL")
        behind = "SELECT id FROM supervisor.claim_tenants($1, 'default', '{noop}', '{a}', '{9}', $2, $3, $4)"
        places = [[taken[2][column]] for column in ("priority", "run_at", "id")]
        assert [row["id"] for row in await opened.fetch(behind, worker, *places)] == [soon]


@pytest.mark.parametrize("switch", ["off_tenants = '{b}'", "gated_tenants = '{b}'"])
async def test_a_tenant_that_is_stopped_is_left_out(switch: str) -> None:
    """A tenant that is off or behind a gate is neither listed nor claimed, and others beside it are."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await put(opened, {"a": 2, "b": 2, "c": 1})
        await opened.execute(f"UPDATE supervisor.control SET {switch}, off_kinds = '{{other}}'")  # noqa: S608 - ours
        assert await ready(opened) == ["a", "c"]
        assert by_tenant(await claim_tenants(opened, worker, {"a": 1, "b": 5, "c": 5})) == {"a": 1, "c": 1}
        assert by_tenant(await claim_in_order(opened, worker)) == {"a": 1}


async def test_other_kinds_and_suspects_are_left_alone() -> None:
    """Of a tenant's jobs only those are taken that the worker can run and that were never lost."""
    async with connected() as opened:
        await add_kind(opened, "other")
        worker = await add_worker(opened)
        await put(opened, {"a": 3})
        await opened.execute("UPDATE supervisor.jobs SET kind = 'other' WHERE id = 1")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 WHERE id = 2")
        assert [row["id"] for row in await claim_tenants(opened, worker, {"a": 5})] == [3]


async def test_only_a_worker_with_a_lease_claims_for_tenants() -> None:
    """The claim of tenants' jobs works under the rules of any claim: a lease, a limit, READ COMMITTED."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await put(opened, {"a": 1})
        none = await opened.fetch(
            "SELECT * FROM supervisor.claim_tenants($1, 'default', '{noop}', '{a}', '{NULL}', '{NULL}', '{NULL}', "
            "'{NULL}')",
            worker,
        )
        assert none == await claim_tenants(opened, worker, {"a": 0}) == []
        await opened.execute("SET default_transaction_isolation = 'repeatable read'")
        with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
            await claim_tenants(opened, worker, {"a": 1})
        await opened.execute("RESET default_transaction_isolation")
        await expire(opened, worker)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await claim_tenants(opened, worker, {"a": 1})
        assert refused.value.sqlstate == "SV001"


async def test_many_claimers_take_each_job_of_a_tenant_once() -> None:
    """Claimers that compete for the same tenants claim and finish each job exactly once."""
    claimed: Counter[Pair] = Counter()

    async def work(opened: Connection) -> None:
        worker = await add_worker(opened)
        while rows := await claim_tenants(opened, worker, dict.fromkeys(await ready(opened), 7)):
            claimed.update(pairs_of(rows))
            assert len(await complete(opened, pairs_of(rows))) == len(rows)

    async with schema() as dsn, session(dsn) as opened:
        await put(opened, {"a": 1000, "b": 10, "c": 500, None: 1})
        await together(dsn, 4, work)
        await work(opened)
        assert len(claimed) == 1510
        assert set(claimed.values()) == {1}
        assert {version for _, version in claimed} == {1}


@pytest.mark.parametrize("stale", ["empty", "full"])
async def test_a_newcomer_beside_200_000_jobs_is_found_and_claimed_at_once(stale: str) -> None:
    """Listing the tenants and claiming one's first job reads a few rows, however many another has."""
    async with connected() as opened:
        worker = await add_worker(opened)
        if stale == "empty":
            await opened.execute("ANALYZE supervisor.jobs")
        await opened.execute(LARGE, "large", 200_000)
        if stale == "full":
            await opened.execute("ANALYZE supervisor.jobs")
        await put(opened, {"newcomer": 1})
        async with opened.transaction():
            before = await opened.fetchval(READ)
            assert await ready(opened) == ["large", "newcomer"]
            assert by_tenant(await claim_tenants(opened, worker, {"large": 3, "newcomer": 3})) == {
                "large": 3,
                "newcomer": 1,
            }
            assert await opened.fetchval(READ) - before < 50


async def test_in_order_jobs_of_all_tenants_are_one_queue() -> None:
    """Jobs of tenants are claimed by priority, time and id, whosever they are, behind a cursor, and no others are."""
    async with connected() as opened:
        await add_kind(opened, "other")
        worker = await add_worker(opened)
        await put(opened, {None: 2, "a": 2, "b": 2, "c": 3})
        await opened.execute("UPDATE supervisor.jobs SET priority = -1 WHERE id = 6")
        await opened.execute("UPDATE supervisor.jobs SET kind = 'other' WHERE id = 7")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 WHERE id = 8")
        first = await claim_in_order(opened, worker, 2)
        assert {row["id"] for row in first} == {6, 3}
        last = max(first, key=itemgetter("priority"))
        await opened.execute("UPDATE supervisor.jobs SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL")
        behind = "SELECT id FROM supervisor.claim_in_order($1, 'default', '{noop}', 9, $2, $3, $4)"
        places = [last[column] for column in ("priority", "run_at", "id")]
        assert {row["id"] for row in await opened.fetch(behind, worker, *places)} == {4, 5, 9}
        assert await claim_in_order(opened, worker, 0) == await claim_in_order(opened, worker, None) == []
        assert by_tenant(await claim(opened, worker)) == {None: 2}


@pytest.mark.parametrize("stale", ["empty", "full"])
async def test_in_order_few_rows_are_read(stale: str) -> None:
    """A claim in order reads what it takes, whatever the statistics say."""
    async with connected() as opened:
        worker = await add_worker(opened)
        if stale == "empty":
            await opened.execute("ANALYZE supervisor.jobs")
        await opened.execute(LARGE, "large", 20_000)
        if stale == "full":
            await opened.execute("ANALYZE supervisor.jobs")
        async with opened.transaction():
            before = await opened.fetchval(READ)
            assert len(await claim_in_order(opened, worker, 100)) == 100
            assert await opened.fetchval(READ) - before < 500


async def test_the_claim_is_planned_inline() -> None:
    """The switches are asked within the plan of the claim, which reads its own index in order and sorts nothing."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 10)
        await put(opened, {"a": 10})
        await opened.execute("UPDATE supervisor.control SET off_kinds = '{noop}', gated_services = '{other}'")
        plans = await explained(opened, worker)
        for plan, index in zip(plans, ("jobs_ready", "jobs_tenants", "jobs_in_order"), strict=True):
            assert f"Index Scan using {index} on jobs free" in plan
            assert "blocked_by" not in plan.partition("Update on")[2]
            assert "is_gated" not in plan.partition("Update on")[2]
            assert "Sort" not in plan
            assert "off_kinds" in plan


async def explained(opened: Connection, worker: int) -> list[str]:
    """Return the plans of the statements that claim."""
    said: list[str] = []
    opened.add_log_listener(lambda _, message: said.append(message.message))
    await opened.execute(
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; "
        "SET client_min_messages = log"
    )
    await claim(opened, worker)
    await claim_tenants(opened, worker, {"a": 1})
    await claim_in_order(opened, worker)
    await opened.execute("RESET client_min_messages")
    return [plan for plan in said if "Update on jobs job" in plan]
