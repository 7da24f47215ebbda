"""Which tenants come next, and how many jobs of each: whoever had the least for its weight.

Start-time fair queueing (Goyal, Vin, Cheng 1996) in its simplest form: each tenant has the virtual time up to which it
was served, which its jobs move on by one for its weight; who comes into the line begins at the time of the line's head,
so it neither waits for what others had before nor is paid for what it left.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from supervisor.store.job_rows import Cursor

LEAST_WEIGHT: Final = 1e-3
"""Of a tenant; one with less would wait for nobody's good."""


class Tenant:
    """What a claimer knows of one tenant in one queue. Times are readings of one clock, in seconds.

    served: its virtual time. in_line: it has jobs as far as is known. cursor: the place of the last job claimed.
    from_start: the next claim looks from its first job. start_at: before it, that would be too dear. rests_until: it
    has nothing that can be claimed.
    """

    __slots__ = ("cursor", "from_start", "in_line", "name", "rests_until", "served", "start_at", "weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 1.0
        self.served = 0.0
        self.in_line = False
        self.cursor: Cursor | None = None
        self.from_start = True
        self.start_at = self.rests_until = 0.0


class Shares:
    """The line of tenants that have jobs."""

    __slots__ = ("_line", "_now", "_number")

    def __init__(self) -> None:
        self._line: list[tuple[float, int, Tenant]] = []
        self._now = 0.0
        self._number = 0  # of equals, who came first

    def __len__(self) -> int:
        return len(self._line)

    def join(self, tenant: Tenant, weight: float, *, behind: float = 0.0) -> None:
        """Put a tenant into the line, if it is not, `behind` those who come now too; its weight counts from then."""
        tenant.weight = max(weight, LEAST_WEIGHT)
        if not tenant.in_line:
            tenant.in_line = True
            tenant.served = max(tenant.served, self._now + behind)
            self._push(tenant)

    def leave(self) -> None:
        """Take all out of the line."""
        for _, _, tenant in self._line:
            tenant.in_line = False
        self._line.clear()

    def choose(self, room: int, most: int) -> list[tuple[Tenant, int]]:
        """Take up to `most` tenants out of the line, and share so many slots among them; each gets at least one."""
        count = min(room, most, len(self._line))
        if count <= 0:
            return []
        self._now = max(self._now, self._line[0][0])
        chosen = [heapq.heappop(self._line)[2] for _ in range(count)]
        weights = sum(tenant.weight for tenant in chosen)
        shares: list[tuple[Tenant, int]] = []
        for others, tenant in zip(range(count - 1, -1, -1), chosen, strict=True):
            take = max(1, min(round(room * tenant.weight / weights), room - others)) if others else room
            shares.append((tenant, take))
            tenant.in_line = False
            weights -= tenant.weight
            room -= take
        return shares

    def served(self, tenant: Tenant, count: int, *, stays: bool) -> None:
        """Charge a tenant for what was claimed of it, and put it back into the line if it `stays`."""
        tenant.served += count / tenant.weight
        if stays:
            tenant.in_line = True
            self._push(tenant)

    def _push(self, tenant: Tenant) -> None:
        self._number += 1
        heapq.heappush(self._line, (tenant.served, self._number, tenant))
