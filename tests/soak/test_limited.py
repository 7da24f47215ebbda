"""Limits hold over all hosts and through kills: in no window more starts, at no moment more claims."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import pytest

from supervisor import Client
from tests.soak.campaign import campaign
from tests.soak.limit_app import crawl, scan
from tests.soak.pause import pause
from tests.soak.server import server
from tests.soak.start_log import watch
from tests.soak.windows import fullest, most_at_once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.campaign import Campaign

APP: Final = {"SUPERVISOR_APP": "tests.soak.limit_app:app"}
WINDOW: Final = 5
PERIOD: Final = 4.0
TOGETHER: Final = 2
ALL_TOGETHER: Final = 8
_LIMIT: Final = "SELECT changed FROM supervisor.set_limit($1, $2::text::jsonb, 'a test', 'test')"
_LIMITS: Final = {
    "starts": {"form": "window", "kind": "scan", "by": ["tenant"], "amount": WINDOW, "period_s": PERIOD},
    "at-once": {"form": "concurrency", "kind": "crawl", "by": ["tenant"], "amount": TOGETHER},
    "all-at-once": {"form": "concurrency", "kind": "crawl", "by": [], "amount": ALL_TOGETHER},
}
_STARTS: Final = "SELECT tenant, at FROM public.start_log WHERE kind = 'scan' ORDER BY at"
_SPANS: Final = """
    SELECT start.tenant, start.noted_at AS at, ended.at AS ended
    FROM public.start_log AS start LEFT JOIN public.end_log AS ended USING (job, fence) WHERE start.kind = 'crawl'
"""


async def limited(folder: Path, *, seed: int, tenants: int, jobs: int, crew: tuple[int, int]) -> None:
    """Enqueue at once far more than may start, kill workers meanwhile, and check every start of the record.

    `crew`: so many workers, and so many kills.
    """
    workers, kills = crew
    rng = random.Random(seed)  # noqa: S311 - the same for the same seed
    names = [f"tenant-{number}" for number in range(tenants)]
    async with server() as ours, campaign(ours.dsn, folder) as run:
        async with run.connected() as connection:
            await watch(connection)
            for name, definition in _LIMITS.items():
                assert await connection.fetchval(_LIMIT, name, json.dumps({"place": "start", **definition}))
        for place in range(workers):
            run.crew.hire(f"w{place}", f"h{place}", APP)
        await run.running(workers)
        async with Client(ours.dsn) as client:
            for tenant in names:
                await client.enqueue_many(scan, [rng.random() * 0.1 for _ in range(jobs)], tenant=tenant)
                await client.enqueue_many(crawl, [rng.random() * 0.1 for _ in range(jobs)], tenant=tenant)
        await _harass(run, rng, kills)
        settled = await run.settle(240.0)
        left = await run.dismissed()
        found = await _judged(run, tenants * jobs)
    print(f"seed {seed}: {2 * tenants * jobs} jobs, {kills} kills, settled in {settled:.1f} s")  # noqa: T201 - as above
    assert (found, left) == ([], [])


async def _harass(run: Campaign, rng: random.Random, kills: int) -> None:
    """Kill one worker after the other."""
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(run.crew.keep())
        for _ in range(kills):
            await pause(1.0 + rng.random())
            victim = rng.choice(run.crew.workers)
            if not victim.is_over():
                await victim.end(signal.SIGKILL)
                victim.is_wanted = True
        await pause(0.5)
        keeping.cancel()


async def _judged(run: Campaign, jobs: int) -> list[str]:
    """List where a limit was passed, and what was never started."""
    async with run.connected() as connection:
        starts, spans = await connection.fetch(_STARTS), await connection.fetch(_SPANS)
    by_tenant, at_once = defaultdict(list), defaultdict(list)
    for row in starts:
        by_tenant[row["tenant"]].append(row["at"])
    for row in spans:
        at_once[row["tenant"]].append((row["at"], row["ended"]))
    found = [
        f"{tenant} started {fullest(times, PERIOD)} scans within {PERIOD:g} s"
        for tenant, times in by_tenant.items()
        if fullest(times, PERIOD) > WINDOW
    ]
    found += [
        f"{tenant} had {most_at_once(each)} crawls at once"
        for tenant, each in at_once.items()
        if most_at_once(each) > TOGETHER
    ]
    everybody = most_at_once([(row["at"], row["ended"]) for row in spans])
    if everybody > ALL_TOGETHER:
        found.append(f"there were {everybody} crawls at once")
    if len(starts) < jobs or len(spans) < jobs:
        found.append(f"only {len(starts)} scans and {len(spans)} crawls were started, of {jobs} each")
    if max(fullest(times, PERIOD) for times in by_tenant.values()) < WINDOW or everybody < ALL_TOGETHER:
        found.append("void: no limit was ever reached")
    return found


@pytest.mark.timeout(120)
async def test_limits_hold_on_two_hosts(tmp_path: Path) -> None:
    """Over six tenants and one kill no limit is passed, and every job starts in the end."""
    await limited(tmp_path, seed=1, tenants=6, jobs=8, crew=(2, 1))


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_limits_hold_on_five_hosts_and_through_kills(soak_seed: int, tmp_path: Path) -> None:
    """The same holds for a hundred tenants, five hosts and twenty kills."""
    await limited(tmp_path, seed=soak_seed, tenants=100, jobs=40, crew=(5, 20))
