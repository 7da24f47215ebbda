"""Judges the queues for HTTP as the command `queue health` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.jobs import queue_health
from supervisor.store import figures
from supervisor.store.queue_facts import Switches
from supervisor.store.queues import stats_of
from supervisor.web.health import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.health import Facts

_LEVELS: Final = {
    queue_health.Level.HEALTHY: Level.HEALTHY,
    queue_health.Level.WARNING: Level.WARNING,
    queue_health.Level.CRITICAL: Level.CRITICAL,
}
_OF_WORKERS: Final = frozenset({"workers", "leases"})


def judge(facts: Facts) -> Sequence[Finding]:
    """Say what is not well among the queues."""
    switches = facts.switches
    found = queue_health.judge(
        queue_health.Facts(
            queues=[stats_of(row) for row in facts.queues],
            workers=facts.workers,
            full=figures.full(facts.queues),
            switches=Switches(
                switches.killed,
                switches.mode.value,
                switches.off_services,
                switches.off_tenants,
                switches.off_queues,
                switches.off_kinds,
            ),
        )
    )
    return [
        Finding(
            "workers" if one.check in _OF_WORKERS else "queue", _LEVELS[one.level], one.queue, one.problem, one.advice
        )
        for one in found.findings
    ]
