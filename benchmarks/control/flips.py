"""How soon every worker has confirmed a kill switch, told by a notification or by its own poll."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import asyncpg

from benchmarks.queue.recovery import worker
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

WORKERS: Final = 10
FLIPS: Final = 50
_POLL: Final = 1.0
_CHANGE: Final = """
    SELECT epoch FROM supervisor.change_switch(
        scope => 'kill_switch', name => '', value => $1::text::jsonb, reason => 'a benchmark', actor => 'benchmark',
        source => NULL, request_id => NULL, cancel_running => false, expires_at => NULL, dry_run => false,
        if_epoch => NULL)
"""
_MISSING: Final = "SELECT count(*) FROM supervisor.unconfirmed($1)"
_DEAF: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%listener%'"


def measure(plan: Plan) -> list[Row]:
    """Flip the kill switch again and again while ten idle processes listen."""
    middle, late, slowest = [], [], []
    with bench() as server, TemporaryDirectory() as folder, ExitStack() as fleet:
        for place in range(plan.size(WORKERS, least=2)):
            plan.say(f"starting worker {place + 1}")
            fleet.enter_context(worker(server, Path(folder, f"host-{place}"), ()))
        for number in range(plan.runs + 1):
            plan.say(f"flips: run {number} of {plan.runs}" if number else "flips: warm-up")
            found = server.run(_flip(server, plan.size(FLIPS)))
            if number:
                middle.append(statistics.median(found))
                late.append(sorted(found)[int(len(found) * 0.99)])
                slowest.append(max(found))
    return [
        Row("kill switch: commit to the last of ten confirmations, p50", _seconds(middle), None, at_most(0.02, "s")),
        Row("the same, p99", _seconds(late), None, at_most(0.1, "s")),
        Row("the same, the slowest of all", _seconds(slowest), None, at_most(_POLL, "s")),
    ]


async def _flip(server: Bench, count: int) -> list[float]:
    connection = await asyncpg.connect(server.dsn, timeout=10)
    found = []
    for value in ("true", "false") * count:
        epoch = await connection.fetchval(_CHANGE, value)
        began = time.perf_counter()
        while await connection.fetchval(_MISSING, epoch):
            pass
        found.append(time.perf_counter() - began)
    await connection.close(timeout=10)
    return found


def _seconds(values: list[float]) -> Samples:
    return Samples("ours", "s", tuple(values))
