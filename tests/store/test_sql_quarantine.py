"""Suspects: jobs that were lost with a worker run in their own lane, and in no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_suspects,
    complete,
    connected,
    enqueue,
    expire,
    hand_back,
    pairs_of,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

LOSSES = "UPDATE supervisor.jobs SET losses = $2 WHERE id = $1"
SUSPECTS = "SELECT * FROM supervisor.suspects($1, $2, $3)"


async def suspects(
    opened: Connection, last: int = 2, *, queues: tuple[str, ...] = ("default",), kinds: tuple[str, ...] = ("noop",)
) -> tuple[int, int]:
    """Count the suspects that could start in company, and alone."""
    row = await opened.fetchrow(SUSPECTS, queues, kinds, last)
    assert row is not None
    return row["in_company"], row["alone"]


async def test_the_lanes_share_nothing() -> None:
    """A job with losses is never claimed by the main lane, and one without never by the other."""
    async with connected() as opened:
        worker = await add_worker(opened)
        clean, lost, last = await enqueue(opened, 3)
        await opened.execute(LOSSES, lost, 1)
        await opened.execute(LOSSES, last, 2)
        assert await suspects(opened) == (1, 1)
        assert [row["id"] for row in await claim(opened, worker)] == [clean]
        assert [row["id"] for row in await claim_suspects(opened, worker, losses=(1, 1))] == [lost]
        (row,) = await claim_suspects(opened, worker, 1, losses=(2, 32767))
        assert (row["id"], row["losses"], row["lock_version"], row["queue"]) == (last, 2, 1, "default")
        assert await suspects(opened) == (0, 0)
        assert len(await complete(opened, pairs_of([row]))) == 1


async def test_the_least_dangerous_come_first() -> None:
    """Suspects are claimed in the order of their losses, then as any jobs, out of all queues of the lane."""
    async with connected() as opened:
        worker = await add_worker(opened)
        twice, once = await enqueue(opened, 2)
        urgent = await opened.fetchval("SELECT supervisor.enqueue('noop', queue => 'mail', priority => -1)")
        other = await opened.fetchval("SELECT supervisor.enqueue('noop', queue => 'other')")
        for job, losses in [(twice, 2), (once, 1), (urgent, 1), (other, 1)]:
            await opened.execute(LOSSES, job, losses)
        call = "SELECT id FROM supervisor.claim_suspects($1, '{default,mail}', '{noop}', 1, 1, 9)"
        taken = [row["id"] for _ in range(4) for row in await opened.fetch(call, worker)]
        assert taken == [urgent, once, twice]
        assert await suspects(opened, queues=("default", "mail", "other")) == (1, 0)
        assert await suspects(opened, queues=("default",)) == (0, 0)


@pytest.mark.parametrize(
    "switch",
    [
        "killed = true",
        "off_queues = '{default}'",
        "off_services = '{default}'",
        "off_kinds = '{noop}'",
        "off_tenants = '{acme}'",
        "mode = 'observe_only'",
        "mode = 'safe_mode'",
    ],
)
async def test_no_suspect_starts_in_the_scope_of_a_switch(switch: str) -> None:
    """What a switch holds back is neither claimed nor counted, so that no lane is opened for it."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', tenant => 'acme')")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1")
        await opened.execute(f"UPDATE supervisor.control SET {switch}")  # noqa: S608 - a case of ours
        assert await suspects(opened) == (0, 0)
        assert await claim_suspects(opened, worker) == []


async def test_a_suspect_of_an_unknown_kind_is_left_alone() -> None:
    """Suspects of kinds that the lane cannot run are neither claimed nor counted."""
    async with connected() as opened:
        await add_kind(opened, "other")
        worker = await add_worker(opened)
        await enqueue(opened, 1, kind="other")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1")
        assert await suspects(opened) == (0, 0)
        assert await suspects(opened, kinds=("noop", "other")) == (1, 0)
        assert await claim_suspects(opened, worker) == []


async def test_a_suspect_stays_one_through_a_retry() -> None:
    """A suspect that is retried, even after a while, is still one: only its end clears it."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        await opened.execute("UPDATE supervisor.jobs SET losses = 1")
        await hand_back(opened, pairs_of(await claim_suspects(opened, worker)), "retry")
        await hand_back(opened, pairs_of(await claim_suspects(opened, worker)), "retry", 60.0)
        assert await suspects(opened) == (0, 0)
        await opened.execute("UPDATE supervisor.jobs_waiting SET due_at = now()")
        assert await opened.fetchval("SELECT supervisor.promote(10)") == 1
        assert await suspects(opened) == (1, 0)
        assert await claim(opened, worker) == []


async def test_only_a_worker_with_a_lease_claims_suspects() -> None:
    """The quarantine lane claims under the rules of any claim: a lease, a limit, READ COMMITTED."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        await opened.execute("UPDATE supervisor.jobs SET losses = 1")
        for most in (None, 0, -1):
            assert await claim_suspects(opened, worker, most) == []
        await opened.execute("SET default_transaction_isolation = 'repeatable read'")
        with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
            await claim_suspects(opened, worker)
        await opened.execute("RESET default_transaction_isolation")
        await expire(opened, worker)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await claim_suspects(opened, worker)
        assert refused.value.sqlstate == "SV001"


async def test_counts_and_claims_of_suspects_are_cheap() -> None:
    """Both counts stop at a thousand, and neither they nor a claim read the jobs that are no suspects."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 6000)
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 + id % 2 WHERE id <= 2400")
        await opened.execute("VACUUM supervisor.jobs")
        statement = (
            "SELECT pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid), "
            "pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid) "
            "FROM pg_class WHERE oid = 'supervisor.jobs'::regclass"
        )

        async def counts() -> list[int]:
            return list(await opened.fetchrow(statement) or ())

        async with opened.transaction():
            before = await counts()  # also has what this session has not yet reported
            assert await suspects(opened) == (1000, 1000)
            assert await suspects(opened, 3) == (1000, 0)
            between = await counts()
            assert between[0] - before[0] < 8000
            assert len(await claim_suspects(opened, worker, 5)) == 5
            after = await counts()
            assert [after[1] - between[1], after[2] - between[2]] == [5, 5]
