"""A link that answers claims as a test says, for tests of lanes that need no database."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

from supervisor.store.job_rows import CLAIMED_COLUMNS
from tests.jobs.rows import START, PaperRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.job_rows import ClaimedJob
    from supervisor.store.link import Link


def row_of(id_: int, tenant: str | None = None, *, priority: int = 0) -> ClaimedJob:
    """Make the row of a claimed job of a tenant, which was enqueued at second `id_`."""
    at = START + dt.timedelta(seconds=id_)
    columns = (id_, 1, "noop", "{}", 0, 3, 0, 0, tenant, at, 300.0, None, priority, at, "default", "default")
    return cast("ClaimedJob", PaperRow(columns))


class PaperLink:
    """Tenants with so many jobs each, in one queue; each call takes some seconds of its clock.

    looks, claims: what was asked, one after the other. takes: seconds for a look, and for a claim. in_order: how many
    claims there were in order, in which tenants stand one job of each after the other, but `first` before all.
    """

    def __init__(self, tenants: dict[str, int] | None = None) -> None:
        self.now = 100.0
        self.takes = (0.001, 0.003)
        self.tenants = dict(tenants or {})
        self.weights: dict[str, float] = {}
        self.looks: list[str | None] = []
        self.claims: list[dict[str, tuple[int, object]]] = []
        self.in_order = 0
        self.first: str | None = None
        self._turns: list[str] = []
        self._ids = 0

    @property
    def link(self) -> Link:
        """Itself, as what it stands for."""
        return cast("Link", self)

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def fetch(self, _sql: str, _queue: str, after: str | None, most: int, *, within: float) -> Sequence[Any]:
        """List tenants with jobs."""
        assert within > 0
        self.now += self.takes[0]
        self.looks.append(after)
        ready = sorted(name for name, count in self.tenants.items() if count and name > (after or ""))
        return [(name, self.weights.get(name, 1.0)) for name in ready[:most]]

    async def fetch_as(
        self,
        _row: object,
        sql: str,
        _worker: int,
        _queue: str,
        _kinds: object,
        *asked: object,
        within: float,
    ) -> list[ClaimedJob]:
        """Claim jobs of tenants, of each so many or in order."""
        assert within > 0
        assert CLAIMED_COLUMNS in sql
        self.now += self.takes[1]
        if "claim_in_order" in sql:
            return self._in_order(cast("int", asked[0]))
        names, takes, *places = cast("tuple[Sequence[str], Sequence[int], *tuple[Sequence[object], ...]]", asked)
        self.claims.append({name: (take, place) for name, take, place in zip(names, takes, places[2], strict=True)})
        return [row for name, take in zip(names, takes, strict=True) for row in self._take(name, take)]

    def _in_order(self, most: int) -> list[ClaimedJob]:
        self.in_order += 1
        rows = self._take(self.first, most) if self.first else []
        while len(rows) < most:
            if not self._turns:
                self._turns = [name for name, count in self.tenants.items() if count]
            if not self._turns:
                break
            rows += self._take(self._turns.pop(), 1)
        return rows

    def _take(self, name: str, most: int) -> list[ClaimedJob]:
        count = min(most, self.tenants.get(name, 0))
        self.tenants[name] = self.tenants.get(name, 0) - count
        self._ids += count
        return [row_of(self._ids - number, name) for number in reversed(range(count))]
