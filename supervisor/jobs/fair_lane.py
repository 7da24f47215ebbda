"""Claims the jobs of tenants so that each gets its share: a million jobs of one do not stand before another's first.

Which tenants have jobs is found by one step in an index for each, every LOOK seconds and at once on a hint, for at most
SHARE of the time. Each claim takes some jobs of each of some tenants, behind a cursor of its own for each; a claim from
a tenant's first job walks over what ended there and is not yet cleaned away, so that is rare where it is dear.

The jobs of many tenants lie scattered, each on a page of its own. So with more than one claim can meet, jobs are
claimed in one order instead, which are neighbours, for as long as `fairness` finds that each tenant gets its share so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from supervisor.jobs.claim_lane import LONGEST, RESCAN, SHARE, ClaimLane, place
from supervisor.jobs.fair_shares import LEAST_WEIGHT, Shares, Tenant
from supervisor.jobs.fairness import Fairness
from supervisor.store import claims
from supervisor.store.claims import Turn
from supervisor.store.job_rows import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link

LOOK: Final = 0.25
"""Seconds between two looks for tenants with jobs, while others have some."""

PAGE: Final = 500
"""Tenants found in one look; where there are as many, the next looks go on behind them, a round in 2 LOOK or so."""

MEETS: Final = 40
"""Tenants in one claim: each costs some 10 µs beside its jobs, which lie on pages of their own."""

NEAR: Final = 0.02
"""Seconds between two looks on hints: a worker that waits for jobs gives many."""

FEW: Final = 8
"""Tenants in one claim at least, as far as there are so many, and jobs of each, while slots come free all the time."""

QUICKLY: Final = 0.05
"""Seconds between two claims: with less the slots of long jobs would have to be shared more evenly."""

KEPT: Final = 4096
"""Tenants of which the cursor is remembered, at least."""


class FairLane:
    """The jobs of all tenants in one queue, and the kinds that are claimed from it together.

    As `ClaimLane`; dry: no tenant is known to have jobs.
    """

    __slots__ = (
        "_after",
        "_earliest",
        "_fairness",
        "_hinted",
        "_look_at",
        "_order",
        "_page",
        "_pages",
        "_served_at",
        "_shares",
        "_tenants",
        "again_at",
        "dry",
        "kinds",
        "looked",
        "queue",
        "threaded",
    )

    def __init__(self, queue: str, kinds: Sequence[str], *, threaded: bool = False) -> None:
        self.queue = queue
        self.kinds = kinds
        self.threaded = threaded
        self.dry = False
        self.again_at = math.inf
        self._order = ClaimLane(queue, kinds, claim=claims.claim_in_order)
        self._fairness = Fairness()
        self._shares = Shares()
        self._tenants: dict[str, Tenant] = {}
        self._after: str | None = None  # where the next look goes on
        self._hinted = False  # since the last look
        self._page, self._pages = 0, math.inf  # in this round of looks, and in the one before
        self._earliest = self._look_at = self._served_at = self.looked = -math.inf

    def hint(self) -> None:
        """Somebody may have jobs: look for tenants as soon as that is not too dear."""
        self._order.hint()
        if not self._fairness.in_order:  # else those jobs are found without a look
            self._look_at = min(self._look_at, self._earliest)
        self._hinted = True
        self.dry = False

    async def claim(self, link: Link, worker: int, room: int, clock: Callable[[], float]) -> list[ClaimedJob]:
        """Claim up to `room` jobs. Raises LeaseLost, DatabaseUnavailable."""
        if clock() >= self._look_at:
            await self._look(link, clock)
        if self._fairness.in_order:
            rows = await self._order.claim(link, worker, room, clock)
            self.looked = self._order.looked
            self.dry, self.again_at = self._order.dry, self._order.again_at
        else:
            rows = await self._by_turns(link, worker, room, clock)
            self.dry = not self._shares
            self.again_at = self._look_at if self.dry and self._hinted else math.inf
        self._fairness.claimed((row.tenant for row in rows), clock())
        if self.dry:
            self._fairness.settled()
        return rows

    async def _by_turns(self, link: Link, worker: int, room: int, clock: Callable[[], float]) -> list[ClaimedJob]:
        """Claim some jobs of each of those who had the least."""
        chosen = self._shares.choose(room, self._most(room, clock()))
        if not chosen:
            return []
        turns = [Turn(one.name, take, None if one.from_start else one.cursor) for one, take in chosen]
        sent = clock()
        rows = await claims.claim_tenants(link, worker, self.queue, self.kinds, turns)
        self._served_at = clock()
        self._claimed(chosen, rows, self._served_at - sent, self._served_at)
        return rows

    def _most(self, room: int, now: float) -> int:
        """Say how many tenants the next claim may meet."""
        quick = now - self._served_at < QUICKLY
        return min(max(room // FEW, FEW), MEETS) if quick else MEETS

    async def _look(self, link: Link, clock: Callable[[], float]) -> None:
        """Find tenants with jobs."""
        sent = clock()
        found = await claims.ready_tenants(link, self.queue, self._after, PAGE)
        now = self.looked = clock()
        self._hinted = False
        took = now - sent
        full = len(found) == PAGE
        self._after = found[-1].tenant if full else None
        self._earliest = now + min(max(took / SHARE, NEAR), LONGEST)
        self._page += 1
        pause = 2 * LOOK / self._pages if full else LOOK
        if self._fairness.in_order:  # nobody waits to be found, not even in the first round
            pause = pause or LOOK
        self._look_at = max(self._earliest, now + pause)
        if not full:
            self._pages, self._page = self._page, 0
        ready: dict[str, float] = {}
        for name, weight in found:
            tenant = self._tenants.setdefault(name, Tenant(name))
            tenant.weight = ready[name] = max(weight, LEAST_WEIGHT)
        if self._fairness.in_order:
            if self._fairness.has_to_end(ready, self._weight, now):
                self._join(ready, now, self._fairness.got)
                self._fairness.settled()
        else:
            self._join(ready, now, {})
            if len(self._shares) > MEETS and self._fairness.may_begin(len(self._shares), now):
                self._shares.leave()
                self._order.hint()
                self._look_at = max(self._look_at, now + LOOK)
        if len(self._tenants) > max(KEPT, 2 * len(self._shares)):
            self._tenants = {
                name: tenant
                for name, tenant in self._tenants.items()
                if tenant.in_line or now < max(tenant.start_at, tenant.rests_until)
            }

    def _weight(self, name: str) -> float:
        """Return the weight of a tenant as far as it is known."""
        tenant = self._tenants.get(name)
        return 1.0 if tenant is None else tenant.weight

    def _join(self, ready: Mapping[str, float], now: float, got: Mapping[str, int]) -> None:
        """Put tenants into the line; of those who come at once, first who got least."""
        total = max(sum(got.values()), 1)
        for name, weight in ready.items():
            tenant = self._tenants[name]
            if now >= tenant.rests_until:
                tenant.from_start = tenant.from_start or now >= tenant.start_at
                self._shares.join(tenant, weight, behind=got.get(name, 0) / total / weight)

    def _claimed(
        self, chosen: Sequence[tuple[Tenant, int]], rows: Sequence[ClaimedJob], took: float, now: float
    ) -> None:
        """Take note of what a claim gave, and of whom to ask again."""
        found: defaultdict[str | None, list[ClaimedJob]] = defaultdict(list)
        for row in rows:
            found[row.tenant].append(row)
        for tenant, take in chosen:
            own = found[tenant.name]
            short = len(own) < take
            if own:
                last = Cursor(*max(map(place, own)))
                # From the start there may be more right behind these; a short answer has shown that there is not.
                tenant.cursor = last if tenant.cursor is None or not short else max(last, tenant.cursor)
            if tenant.from_start:
                tenant.from_start = False
                tenant.start_at = now + min(max(took / SHARE, RESCAN), LONGEST)
                if not own:  # all that it has is locked, or not for us
                    tenant.rests_until = tenant.start_at
            elif short and now >= tenant.start_at:
                tenant.from_start = True
            self._shares.served(tenant, len(own), stays=not short or tenant.from_start)
