"""Puts what was measured of the whole fleet into the gauges of this process."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from supervisor.telemetry import fleet_gauges as gauges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from supervisor.store.figures import KindFigures, QueueFigures
    from supervisor.telemetry.tallies import Gauge, Labels

NUMBERS: Final[Mapping[str, Gauge]] = {
    "workers": gauges.WORKERS,
    "workers_stale": gauges.SILENT,
    "workers_stopping_hung": gauges.HUNG,
    "worker_versions": gauges.VERSIONS,
    "heartbeat_age_seconds": gauges.HEARTBEAT_AGE,
    "worker_starts_1h": gauges.STARTS,
    "workers_lost_24h": gauges.LOST,
    "workers_unconfirmed": gauges.UNCONFIRMED,
    "singletons_doubled": gauges.SINGLETONS,
    "kill_switch_active": gauges.KILLED,
    "kill_switch_activations": gauges.KILL_COUNT,
    "kill_switch_active_seconds": gauges.KILL_SECONDS,
    "mode": gauges.MODE,
    "mode_changes": gauges.MODE_CHANGES,
    "service_disables": gauges.DISABLES,
    "switched_off": gauges.OFF,
    "control_changes": gauges.CHANGES,
    "control_refusals": gauges.REFUSED,
    "migrations_unfinished": gauges.MIGRATIONS,
    "migration_failures": gauges.MIGRATIONS_FAILED,
    "oldest_snapshot_seconds": gauges.SNAPSHOT,
    "dead_rows": gauges.DEAD_ROWS,
    "live_rows": gauges.LIVE_ROWS,
    "limit_used_ratio": gauges.LIMIT_USED,
    "limit_granted": gauges.LIMIT_GRANTED,
    "limit_held_back": gauges.LIMIT_HELD_BACK,
    "limit_shadowed": gauges.LIMIT_SHADOWED,
}
"""The name of each number in the database, and where it is shown."""

STATES: Final = ("ready", "running", "delayed", "retrying", "paused", "limited", "blocked", "suspects")


def show_fleet(facts: Mapping[tuple[str, str], float]) -> None:
    """Show the numbers of the whole."""
    for name, gauge in NUMBERS.items():
        labelled = bool(gauge.family.labels)
        gauge.set_all({(label,) if labelled else (): value for (each, label), value in facts.items() if each == name})


def show_queues(queues: Iterable[QueueFigures]) -> None:
    """Show each queue."""
    rows = list(queues)
    gauges.QUEUE_JOBS.set_all({(row.queue, state): getattr(row, state) for row in rows for state in STATES})
    gauges.QUEUE_DEPTH.set_all({(row.queue,): row.depth for row in rows})
    gauges.QUEUE_MOST.set_all({(row.queue,): row.max_depth for row in rows if row.max_depth is not None})
    gauges.QUEUE_AGE.set_all({(row.queue,): row.oldest_ready or 0.0 for row in rows})
    gauges.QUEUE_COMPLETED.set_all({(row.queue,): row.completed_1h for row in rows})
    gauges.QUEUE_FAILED.set_all({(row.queue,): row.failed_1h for row in rows})


def show_kinds(kinds: Iterable[KindFigures]) -> None:
    """Show each kind."""
    rows = list(kinds)
    quantiles = {"0.5": {row.kind: row.p50 for row in rows}, "0.95": {row.kind: row.p95 for row in rows}}
    gauges.KIND_SECONDS.set_all(
        {(kind, name): value for name, each in quantiles.items() for kind, value in each.items() if value is not None}
    )
    gauges.KIND_FAILED.set_all({(row.kind,): row.failed_24h for row in rows})


class Ages:
    """How old the figures are at the moment when somebody looks."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now: Final = now
        self._measured: dict[str, float] = {}

    def read(self, ages: Mapping[str, float]) -> None:
        """Take note of how old they are now."""
        now = self._now()
        self._measured = {part: now - age for part, age in ages.items()}

    def __call__(self) -> Mapping[Labels, float]:
        """Tell how old they are; from any thread."""
        now = self._now()
        return {(part,): now - at for part, at in self._measured.items()}


@contextlib.asynccontextmanager
async def reading(gauge: Gauge, ask: Callable[[], Mapping[Labels, float]]) -> AsyncIterator[None]:
    """Let a gauge be read in this way during the block."""
    take_back = gauge.read_by(ask)
    try:
        yield
    finally:
        take_back()
