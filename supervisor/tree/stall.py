"""Notice an actor that is busy without progress. Idle in its mailbox or asleep, it is never stalled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.tree.child import OnStall
from supervisor.tree.events import ChildStalled

if TYPE_CHECKING:
    from supervisor.tree.clock import Timer
    from supervisor.tree.incarnation import Incarnation

REPEAT: Final = 60.0
"""Seconds between two reports of the same stall."""


class StallWatch:
    """Looks at one incarnation when it could have stalled at the earliest, not at every message."""

    __slots__ = ("_life", "_limit", "_timer")

    def __init__(self, life: Incarnation, limit: float) -> None:
        self._life = life
        self._limit = limit
        self._timer: Timer = life.runtime.clock.call_later(limit, self._look)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        life = self._life
        busy = life.runtime.clock.now() - life.inbox.stamp
        again = self._limit if life.inbox.idle else self._limit - busy
        if again <= 0:
            again = REPEAT
            life.runtime.emit(ChildStalled(life.path, busy, life.stack()))
            if life.node.on_stall is OnStall.RESTART:
                life.owner.stalled(life)
        self._timer = life.runtime.clock.call_later(again, self._look)
