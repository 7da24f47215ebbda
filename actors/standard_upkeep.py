"""Wires what keeps the queue in order beside the work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from actors.parts import child
from actors.promoter import Promoter
from actors.pruner import Pruner
from actors.quarantine import Quarantine
from actors.reaper import Reaper
from supervisor.process.lane import environ_for

if TYPE_CHECKING:
    from actors.parts import Parts
    from supervisor.tree.child import Child


def reaper(parts: Parts) -> Child[Any]:
    """Recovers what dead workers hold."""
    return child(
        "reaper",
        lambda: Reaper(parts.database, parts.wakes, parts.suspects, max_losses=parts.config.max_losses),
        stop=0.3,
        cancel=0.3,
    )


def promoter(parts: Parts) -> Child[Any]:
    """Moves what is due."""
    return child("promoter", lambda: Promoter(parts.database, parts.wakes, parts.suspects), stop=0.3, cancel=0.3)


def pruner(parts: Parts) -> Child[Any]:
    """Drops what is old."""
    return child("pruner", lambda: Pruner(parts.database, history_days=parts.config.history_days), stop=0.3, cancel=0.3)


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
