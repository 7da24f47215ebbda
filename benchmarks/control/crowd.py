"""What tenants, limits and switches cost a drain: all in place, against none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from benchmarks.queue.drain import JOBS, MANY, drain
from benchmarks.queue.engine import PAYLOAD
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least
from benchmarks.sampling import Samples, collected

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

TENANTS: Final = 1000
LIMITS: Final = 100
SWITCHES: Final = 10

_FILL: Final = """
    INSERT INTO supervisor.jobs (kind, queue, service, args, tenant)
    SELECT 'noop', 'default', 'default', $2::jsonb, 'tenant-' || number % $3::integer
    FROM generate_series(1, $1::integer) AS number
"""
_LIMITS: Final = """
    SELECT count(made.changed) FROM generate_series(1, $1::integer) AS number, LATERAL supervisor.set_limit(
        'limit-' || number,
        jsonb_build_object('form', 'window', 'place', 'start', 'kind', 'kind-' || number, 'by', '["tenant"]'::jsonb,
                           'amount', 1000000, 'period_s', 3600),
        'a benchmark', 'benchmark') AS made
"""
_OFF: Final = """
    SELECT count(made.changed)
    FROM generate_series(1, $1::integer) AS number, unnest(ARRAY['service', 'tenant', 'queue', 'kind']) AS scope,
         LATERAL supervisor.change_switch(
             scope => scope, name => 'other-' || number, value => 'true', reason => 'a benchmark',
             actor => 'benchmark', source => NULL, request_id => NULL, cancel_running => false, expires_at => NULL,
             dry_run => false, if_epoch => NULL) AS made
"""


def measure(plan: Plan) -> list[Row]:
    """Drain in turn jobs without a tenant in an empty world, and jobs of 1,000 tenants in a crowded one."""
    most = plan.size(JOBS, least=200)
    found: dict[str, list[float]] = {"none": [], "tenants": [], "all": []}
    with bench() as plain, bench() as crowded:
        crowded.run(crowded.value(_LIMITS, LIMITS))
        crowded.run(crowded.value(_OFF, SWITCHES))
        for number in range(plan.runs + 1):
            for label, rates in found.items():
                plan.say(f"{label}: run {number} of {plan.runs}" if number else f"{label}: warm-up")
                server = crowded if label == "all" else plain
                filling = server.fill(most) if label == "none" else _fill(server, most)
                server.run(server.empty())
                server.run(filling)
                rate = collected(lambda server=server: server.run(drain(server, most, MANY))).rate  # type: ignore[misc]
                if number:
                    rates.append(rate)
    none, tenants, everything = (Samples(label, "/s", tuple(rates)) for label, rates in found.items())
    return [
        Row("drain with 1,000 tenants, 100 limits, 40 switches", everything, none, at_least(0.85)),
        Row("drain with 1,000 tenants alone", tenants, none, at_least(0.85)),
    ]


async def _fill(server: Bench, most: int) -> None:
    await server.value(_FILL, most, json.dumps(PAYLOAD), TENANTS)
    await server.value("VACUUM ANALYZE supervisor.jobs")
    await server.value("CHECKPOINT")
