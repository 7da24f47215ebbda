"""What a campaign did, as far as it decides what is a fault of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.soak.history import History

Rule: TypeAlias = "Callable[[History, Judgement], Iterator[str]]"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a campaign did. overlap: seconds for which two handlers of one job may run at once, a pause not counted.

    poisoned: kinds that end in quarantine. deaf: kinds whose handlers heed no cancel, so that they may overlap.
    is_settled: nothing may be left over. max_losses: how many losses put a job away. is_just: nobody was killed but by
    a job, so that no other may be put away.
    """

    overlap: float = 0.0
    poisoned: frozenset[str] = frozenset({"poison"})
    deaf: frozenset[str] = frozenset({"stubborn", "stuck"})
    is_settled: bool = True
    max_losses: int = 3
    is_just: bool = False
