"""What an enqueue answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job that is in the database; `created` is false if a live job with the same unique key stands for it."""

    id: int
    created: bool


@dataclass(frozen=True, slots=True)
class EnqueuedMany:
    """Jobs that are in the database: how many were given, how many of these are new, and all ids in order."""

    count: int
    created: int
    ids: Sequence[int] = field(repr=False)
