"""Limits under load: several hosts claim, run and die at the same time, and no window ever has too many starts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import asyncpg

from tests.store.limiting import claim_gated, set_limit
from tests.store.sql_session import add_worker, complete, expire, hand_back, release, schema, session

if TYPE_CHECKING:
    from datetime import datetime

    from tests.store.sql_session import Connection, Pair

TENANTS = [f"t{number:02}" for number in range(12)]
JOBS = 8
PERIOD = 0.4
EACH = 4
RUNNING = 2
ALL = 30
HOSTS = 5
CUT = (asyncpg.AdminShutdownError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError, ConnectionError)

LOG = """
CREATE TABLE starts (id bigint, tenant text, at timestamptz);
CREATE FUNCTION log_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.starts VALUES (NEW.id, NEW.tenant, NEW.claimed_at);
    RETURN NULL;
END $$;
CREATE TRIGGER log_start AFTER INSERT ON supervisor.jobs FOR EACH ROW WHEN (NEW.claimed_by IS NOT NULL)
    EXECUTE FUNCTION log_start()"""
DONE = "SELECT NOT EXISTS (SELECT FROM supervisor.jobs UNION ALL SELECT FROM supervisor.jobs_waiting)"
KILL = "SELECT pg_terminate_backend($1)"
RUNS = "SELECT tenant, count(*) FROM supervisor.jobs WHERE claimed_by IS NOT NULL GROUP BY tenant"


async def test_five_hosts_that_die_never_start_too_many() -> None:
    """With connections cut and workers lost in between, all jobs run, and each window has what it may."""
    async with schema() as dsn, session(dsn) as watcher:
        await watcher.execute(LOG)
        await set_limit(watcher, "all", amount=ALL, period_s=PERIOD)
        await set_limit(watcher, "each", amount=EACH, period_s=PERIOD, by=["tenant"])
        await set_limit(watcher, "running", form="concurrency", amount=RUNNING, by=["tenant"])
        await watcher.execute(
            "SELECT supervisor.enqueue_many(array_fill('noop'::text, ARRAY[$1::int]), "
            "array_fill('{}'::jsonb, ARRAY[$1::int]), tenants => $2)",
            JOBS * len(TENANTS),
            TENANTS * JOBS,
        )
        async with asyncio.timeout(50), asyncio.TaskGroup() as group:
            for seed in range(HOSTS):
                group.create_task(_host(dsn, Random(seed)))  # noqa: S311 - no secret
            group.create_task(_look(watcher))
        rows = await watcher.fetch("SELECT tenant, at FROM starts ORDER BY at")
        assert len(rows) >= JOBS * len(TENANTS)
        by_tenant: dict[str, list[datetime]] = defaultdict(list)
        for row in rows:
            by_tenant[row["tenant"]].append(row["at"])
        assert _fullest([row["at"] for row in rows]) <= ALL
        assert all(_fullest(starts) <= EACH for starts in by_tenant.values())
        assert set(by_tenant) == set(TENANTS)


async def _host(dsn: str, random: Random) -> None:
    """Claim and run jobs until none is left; be cut off now and then, and begin again as another worker."""
    while True:
        async with session(dsn) as opened, session(dsn) as other:
            worker = await add_worker(opened)
            try:
                if await _work(opened, other, worker, random):
                    return
            except CUT:
                pass
            await expire(other, worker)


async def _work(opened: Connection, other: Connection, worker: int, random: Random) -> bool:
    """Return whether everything is done; raise, or return false, where the host dies."""
    after: str | None = None
    held: list[Pair] = []
    for _ in range(random.randrange(20, 200)):
        claim = claim_gated(opened, worker, random.randrange(1, 20), after)
        if random.random() < 0.02:
            killed = await asyncio.gather(claim, other.fetch(KILL, opened.get_server_pid()), return_exceptions=True)
            if isinstance(killed[0], BaseException):
                raise killed[0]
            return False
        found = await claim
        after = found.go_on
        held += found.pairs
        random.shuffle(held)
        ended, held = held[: len(held) // 2 + 1], held[len(held) // 2 + 1 :]
        if random.random() < 0.1:
            await hand_back(opened, ended, "interrupted", 0.0)
        else:
            await complete(opened, ended)
        if await opened.fetchval(DONE):
            return True
    return False


async def _look(watcher: Connection) -> None:
    """Watch how many run, and take from the dead what they have, until all is done."""
    while not await watcher.fetchval(DONE):
        assert all(row[1] <= RUNNING for row in await watcher.fetch(RUNS))
        await watcher.execute("SELECT supervisor.find_lost()")
        for row in await watcher.fetch("SELECT worker FROM supervisor.find_held()"):
            await release(watcher, row["worker"], max_losses=1000)
        await watcher.execute("UPDATE supervisor.jobs SET losses = 0 WHERE claimed_by IS NULL AND losses > 0")
        await watcher.execute("SELECT supervisor.park(0, 1000)")
        await watcher.execute("UPDATE supervisor.jobs_waiting SET losses = 0 WHERE losses > 0")


def _fullest(starts: list[datetime]) -> int:
    """Return the most starts in any window, in order of their times."""
    most = first = 0
    for place, start in enumerate(starts):
        while starts[first] <= start - timedelta(seconds=PERIOD):
            first += 1
        most = max(most, place - first + 1)
    return most
