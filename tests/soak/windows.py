"""Checks what limits promise over recorded starts: never more than so many in any window, nor at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def fullest(starts: Sequence[datetime], period: float) -> int:
    """Return the most starts in any window (t, t + period], for starts in order."""
    most = first = 0
    for place, start in enumerate(starts):
        while (start - starts[first]).total_seconds() >= period:
            first += 1
        most = max(most, place - first + 1)
    return most


def most_at_once(spans: Sequence[tuple[datetime, datetime | None]]) -> int:
    """Return the most spans that overlap at any moment; an end of None has not come yet."""
    changes = [(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans if end is not None]
    most = running = 0
    for _, change in sorted(changes):  # an end goes before a start of the same moment
        running += change
        most = max(most, running)
    return most
