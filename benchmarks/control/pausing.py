"""What it takes to pause a tenant with a million waiting jobs, and what the others feel of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import anyio
import asyncpg

from benchmarks.queue.drain import MANY
from benchmarks.queue.engine import Calls, committed, engine, noop_job
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least, at_most
from benchmarks.sampling import Samples, collected
from supervisor.config import Config
from supervisor.jobs.job import job

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

BACKLOG: Final = 1_000_000
OTHERS: Final = 300_000
_POLL: Final = 0.1
_BACKLOG: Final = """
    INSERT INTO supervisor.jobs (kind, queue, service, args, tenant)
    SELECT 'bulk', 'default', 'default', '{}', 'big' FROM generate_series(1, $1::integer)
"""
_PAUSE: Final = """
    SELECT epoch FROM supervisor.change_switch(
        scope => 'tenant', name => 'big', value => 'true', reason => 'a benchmark', actor => 'benchmark',
        source => NULL, request_id => NULL, cancel_running => false, expires_at => NULL, dry_run => false,
        if_epoch => NULL)
"""
_LEFT: Final = "SELECT EXISTS (SELECT FROM supervisor.jobs WHERE tenant = 'big' AND losses = 0 AND queue = 'default')"


@job("bulk")
async def bulk(_args: dict[str, object]) -> None:
    """Do nothing."""


def measure(plan: Plan) -> list[Row]:
    """Pause while others are worked off; then work off as many others with everything parked."""
    commits, parked, during, after = [], [], [], []
    with bench([bulk]) as server:
        for number in range(max(1, plan.runs // 2)):
            plan.say(f"run {number + 1}")
            server.run(server.empty())
            server.run(server.value("UPDATE supervisor.control SET off_tenants = '{}'"))
            server.run(server.value("DELETE FROM supervisor.switches"))
            server.run(server.value(_BACKLOG, plan.size(BACKLOG)))
            server.run(server.fill(plan.size(OTHERS, least=5000)))
            commit, seconds, rate = collected(lambda: server.run(_pause(server, plan.size(OTHERS, least=5000))))
            commits.append(commit)
            parked.append(seconds)
            during.append(rate)
            server.run(server.fill(plan.size(OTHERS, least=5000)))
            after.append(collected(lambda: server.run(_drain(server, plan.size(OTHERS, least=5000)))))
    return [
        Row("pausing a tenant with a million jobs: commit", _samples(commits, "s"), None, at_most(0.05, "s")),
        Row("the same, until all are parked", _samples(parked, "s"), None, at_most(60, "s")),
        Row(
            "drain of other jobs meanwhile",
            _samples(during, "/s"),
            Samples("everything parked", "/s", tuple(after)),
            at_least(0.8),
        ),
    ]


async def _pause(server: Bench, others: int) -> tuple[float, float, float]:
    """Return the seconds of the change, those until nothing of the tenant is left, and the rate of the others."""
    calls = Calls(others)
    connection = await asyncpg.connect(server.dsn, timeout=10)
    async with engine(server.dsn, [noop_job(calls), bulk], Config(concurrency=MANY)):
        while calls.count < others // 20:  # noqa: ASYNC110 - a warm-up of some jobs
            await anyio.sleep(_POLL / 10)
        began, before = time.perf_counter(), calls.count
        await connection.fetchval(_PAUSE)
        commit = time.perf_counter() - began
        await calls.done.wait()
        rate = (others - before) / (calls.last - began)
        while await connection.fetchval(_LEFT):  # noqa: ASYNC110 - other processes
            await anyio.sleep(_POLL)
        seconds = time.perf_counter() - began
    await connection.close(timeout=10)
    return commit, seconds, rate


async def _drain(server: Bench, others: int) -> float:
    calls = Calls(others)
    connection = await asyncpg.connect(server.dsn, timeout=10)
    async with engine(server.dsn, [noop_job(calls), bulk], Config(concurrency=MANY)):
        while calls.count < others // 20:  # noqa: ASYNC110 - a warm-up of some jobs
            await anyio.sleep(_POLL / 10)
        began, before = time.perf_counter(), calls.count
        await calls.done.wait()
        rate = (others - before) / (calls.last - began)
        await committed(connection)
    await connection.close(timeout=10)
    return rate


def _samples(values: list[float], unit: str) -> Samples:
    return Samples("ours", unit, tuple(values))
