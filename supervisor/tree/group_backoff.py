"""A failed child, and the siblings that its failure took down, waiting together to start again in order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.tree.clock import Clock
    from supervisor.tree.slot import Slot


class GroupBackoff:
    """One backoff. It belongs to the group, not to the child that failed: that one may be stopped or removed.

    Members that are held take no part, unless somebody starts them meanwhile.
    """

    __slots__ = ("_timer", "members")

    def __init__(
        self, members: Sequence[Slot], clock: Clock, delay: float, due: Callable[[GroupBackoff], object]
    ) -> None:
        for member in members:
            if member.backoff is not None:
                member.backoff.call_off()
        self.members = members
        for member in members:
            if not member.held:
                member.backoff = self
        self._timer = clock.call_later(delay, partial(due, self))

    def call_off(self) -> None:
        """Let nobody wait any more."""
        self._timer.cancel()
        for member in self.members:
            if member.backoff is self:
                member.backoff = None
