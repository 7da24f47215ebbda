"""Wires what keeps the queue in order beside the work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from actors.limit_upkeep import LimitUpkeep
from actors.meter import Meter
from actors.parker import Parker
from actors.parts import child
from actors.promoter import Promoter
from actors.pruner import Pruner
from actors.quarantine import Quarantine
from actors.reaper import Reaper
from actors.slow_watch import SlowWatch
from actors.surveyor import Surveyor
from actors.version_watch import VersionWatch
from supervisor.process.lane import environ_for

if TYPE_CHECKING:
    from actors.parts import Parts
    from supervisor.tree.child import Child


def reaper(parts: Parts) -> Child[Any]:
    """Recovers what dead workers hold."""
    return child(
        "reaper",
        lambda: Reaper(
            parts.database,
            parts.wakes,
            parts.suspects,
            max_losses=parts.config.max_losses,
            pressure=parts.pressure,
        ),
        stop=0.1,
        cancel=0.2,
        teardown=0.1,
    )


def promoter(parts: Parts) -> Child[Any]:
    """Moves what is due."""
    return child(
        "promoter", lambda: Promoter(parts.database, parts.wakes, parts.suspects), stop=0.1, cancel=0.2, teardown=0.1
    )


def parker(parts: Parts) -> Child[Any]:
    """Moves what a switch or a gate stops."""
    changed = parts.switches.follow()

    def make() -> Parker:
        return Parker(
            parts.database,
            parts.switches,
            changed,
            parts.wakes,
            holder=parts.identity.name,
            queues=parts.queues,
        )

    return child("parker", make, stop=0.1, cancel=0.2, teardown=0.1)


def pruner(parts: Parts) -> Child[Any]:
    """Drops what is old."""
    return child(
        "pruner",
        lambda: Pruner(parts.database, history_days=parts.config.history_days),
        stop=0.1,
        cancel=0.2,
        teardown=0.1,
    )


def limit_upkeep(parts: Parts) -> Child[Any]:
    """Makes and keeps limits."""
    declared = [limit.row for limit in parts.app.limits]
    return child("limit_upkeep", lambda: LimitUpkeep(parts.database, declared), stop=0.1, cancel=0.2, teardown=0.1)


def meter(parts: Parts) -> Child[Any]:
    """Counts what happens, and lets this process be measured."""

    def make() -> Meter:
        return Meter(
            parts.database, parts.lease, parts.slots, parts.outbox, parts.pressure, version=parts.identity.version
        )

    return child("meter", make, stop=0.05, cancel=0.05, teardown=0.1)


def surveyor(parts: Parts) -> Child[Any]:
    """Measures the queues, for whoever shows numbers."""
    return child("surveyor", lambda: Surveyor(parts.database, parts.pressure), stop=0.1, cancel=0.2, teardown=0.1)


def slow_watch(parts: Parts) -> Child[Any]:
    """Notices jobs that run for too long."""
    return child("slow_watch", lambda: SlowWatch(parts.database, parts.handlers), stop=0.1, cancel=0.2, teardown=0.1)


def version_watch(parts: Parts) -> Child[Any]:
    """Notices workers of different versions."""
    return child("version_watch", lambda: VersionWatch(parts.database), stop=0.1, cancel=0.1, teardown=0.1)


def quarantine(parts: Parts) -> Child[Any]:
    """Starts a process for suspects."""

    def make() -> Quarantine:
        return Quarantine(
            parts.database,
            parts.suspects,
            queues=parts.queues,
            kinds=parts.kinds,
            max_losses=parts.config.max_losses,
            lifelock=parts.lifelock,
            environ=environ_for(parts.config, os.environ),
        )

    return child("quarantine", make, stop=2.5, cancel=0.3, teardown=1.5)
