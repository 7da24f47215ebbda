"""The lane of tenants' jobs: whom it finds, whom it asks, and how often it looks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from supervisor.jobs.claim_lane import LONGEST, RESCAN, SHARE
from supervisor.jobs.fair_lane import FEW, LOOK, MEETS, NEAR, PAGE, QUICKLY, FairLane
from tests.jobs.claim_links import PaperLink


class Driven:
    """A lane and what it asks."""

    def __init__(self, tenants: dict[str, int], *, by_turns: bool = False) -> None:
        self.lane = FairLane("default", ["noop"])
        if by_turns:
            self.lane._fairness._try_at = math.inf
        self.paper = PaperLink(tenants)

    async def claim(self, room: int = 10) -> dict[str | None, int]:
        """Claim once; return how many jobs of whom."""
        found: dict[str | None, int] = {}
        for row in await self.lane.claim(self.paper.link, 1, room, self.paper.clock):
            found[row.tenant] = found.get(row.tenant, 0) + 1
        return found


async def test_nobody_has_jobs() -> None:
    """Where no tenant has jobs nothing is claimed, and the lane is dry."""
    driven = Driven({})
    assert await driven.claim() == {}
    assert driven.lane.dry
    assert (driven.paper.looks, driven.paper.claims) == ([None], [])


async def test_each_gets_its_share() -> None:
    """Slots are shared among those with jobs, and what one does not need the others get next."""
    driven = Driven({"a": 1000, "b": 1000, "c": 1})
    assert await driven.claim(12) == {"a": 4, "b": 4, "c": 1}
    assert await driven.claim(12) == {"a": 6, "b": 6}
    assert not driven.lane.dry


async def test_weights_count() -> None:
    """A tenant with three times the weight gets three times the slots."""
    driven = Driven({"a": 1000, "b": 1000})
    driven.paper.weights = {"b": 3.0}
    assert await driven.claim(20) == {"a": 5, "b": 15}


async def test_a_newcomer_is_found_in_time() -> None:
    """Under load the lane looks for tenants every quarter of a second, and whom it finds is served at once."""
    driven = Driven({"a": 1_000_000})
    await driven.claim()
    driven.paper.tenants["new"] = 1
    began = driven.paper.now
    while "new" not in await driven.claim():
        assert driven.paper.now - began <= LOOK + 0.01
    assert len(driven.paper.looks) == 2


async def test_a_hint_makes_it_look_at_once() -> None:
    """After a hint the next claim looks for tenants, if the last look was not just now."""
    driven = Driven({"a": 1000})
    await driven.claim()
    driven.paper.now += NEAR
    driven.paper.tenants["new"] = 1
    driven.lane.hint()
    assert "new" in await driven.claim()


async def test_hints_that_come_thick_are_heard_soon() -> None:
    """A hint right after a look is not lost: the lane says when it wants to be asked again."""
    driven = Driven({})
    await driven.claim()
    driven.paper.tenants["new"] = 1
    driven.lane.hint()
    assert await driven.claim() == {}
    assert driven.lane.dry
    driven.paper.now = driven.lane.again_at
    assert driven.paper.now - driven.lane.looked <= NEAR + 0.001
    assert await driven.claim() == {"new": 1}


async def test_dear_looks_are_seldom() -> None:
    """Looks for tenants take a small part of the time, however long one takes."""
    driven = Driven({"a": 1_000_000})
    driven.paper.takes = (0.1, 0.003)
    while driven.paper.now < 200.0:
        driven.lane.hint()
        await driven.claim()
    assert len(driven.paper.looks) * 0.1 / 100.0 <= SHARE


async def test_no_claim_meets_too_many() -> None:
    """With more tenants than one claim can meet, all have their turn before any has its next."""
    driven = Driven({f"t{number:04}": 100 for number in range(200)}, by_turns=True)
    met: list[str] = []
    while len(met) < 200:
        await driven.claim(200)
        met += driven.paper.claims[-1]
    assert max(map(len, driven.paper.claims)) == MEETS
    assert len(set(met[:200])) == 200


async def test_long_jobs_are_shared_evenly() -> None:
    """Where slots come free seldom, each claim meets as many tenants as it can, and else some jobs of fewer."""
    driven = Driven({f"t{number:04}": 100 for number in range(100)}, by_turns=True)
    assert len(await driven.claim(64)) == MEETS
    assert set((await driven.claim(64)).values()) == {FEW}
    driven.paper.now += 2 * QUICKLY
    assert len(await driven.claim(64)) == MEETS


async def test_pages_go_on_until_all_are_known() -> None:
    """With more tenants than one look finds, the next look goes on behind them, and after the last from the first."""
    driven = Driven({f"t{number:04}": 10_000 for number in range(PAGE + 10)}, by_turns=True)
    while len(driven.paper.looks) < 3:
        await driven.claim()
    assert driven.paper.looks == [None, f"t{PAGE - 1:04}", None]


async def test_a_cursor_for_each() -> None:
    """A tenant is asked from its first job, then behind the last, and from the first again after a while."""
    driven = Driven({"a": 1_000_000, "b": 1_000_000})
    starts: dict[str, list[float]] = {"a": [], "b": []}
    while driven.paper.now < 105.0:
        await driven.claim()
        for name, (_, place) in driven.paper.claims[-1].items():
            if place is None:
                starts[name].append(driven.paper.now)
    for times in starts.values():
        gaps = [after - before for before, after in pairwise(times)]
        assert min(gaps) >= RESCAN
        assert max(gaps) <= RESCAN + LOOK + 0.05


async def test_who_has_nothing_for_us_rests() -> None:
    """A tenant whose jobs cannot be claimed is asked the more seldom the longer that takes."""
    driven = Driven({"a": 10})
    driven.paper.takes = (0.001, 0.1)

    class Nothing(dict[str, int]):
        def get(self, key: str, default: int = 0) -> int:  # type: ignore[override]
            return 0

    driven.paper.tenants = Nothing({"a": 10})
    for _ in range(1000):
        driven.paper.now += 0.01
        driven.lane.hint()
        assert await driven.claim() == {}
        driven.paper.tenants["a"] = 10
        assert driven.lane.dry
    assert len(driven.paper.claims) * 0.1 / (driven.paper.now - 100.0) <= SHARE * 1.2
    assert len(driven.paper.claims) >= (driven.paper.now - 100.0) / (LONGEST + 1)


@pytest.mark.parametrize("by_turns", [True, False])
async def test_gone_tenants_are_forgotten(by_turns: bool) -> None:
    """Of tenants that came once and have nothing now, not all are remembered for ever."""
    driven = Driven({}, by_turns=by_turns)
    for start in range(0, 9000, 300):
        driven.paper.tenants = {f"t{start + number}": 1 for number in range(300)}
        driven.paper.now += 10.0
        driven.lane.hint()
        while await driven.claim(500):
            pass
    assert len(driven.lane._tenants) <= 5000


MANY = {f"t{number:03}": 1_000_000 for number in range(100)}


async def test_many_tenants_are_claimed_in_order() -> None:
    """With more tenants than one claim can meet, and each getting its share so, all jobs are claimed in order."""
    driven = Driven(MANY)
    while driven.paper.now < 105.0:
        assert sum((await driven.claim(100)).values()) == 100
    assert driven.paper.claims == []
    assert LOOK * 0.9 <= 5.0 / len(driven.paper.looks) <= LOOK + 0.01


async def test_a_newcomer_behind_one_who_takes_all_is_served_after_the_next_look() -> None:
    """Where the order gives all to one, the look that finds another ends it, and the other is in the next claim."""
    driven = Driven(MANY)
    while driven.paper.now < 101.0:
        await driven.claim(100)
    assert driven.paper.claims == []
    driven.paper.tenants = {"a": 1_000_000, "new": 1}
    driven.paper.first = "a"
    looks = len(driven.paper.looks)
    while "new" not in (claimed := await driven.claim(100)):
        assert len(driven.paper.looks) == looks
    assert len(driven.paper.looks) == looks + 1
    assert claimed == {"a": 50, "new": 1}


async def test_the_order_is_tried_again_ever_more_seldom() -> None:
    """While one stands before all others, turns are left but for a look or two, at most once a minute in the end."""
    driven = Driven(MANY)
    driven.paper.tenants["t000"] = driven.paper.tenants["t099"] = 10**9
    driven.paper.first = "t000"
    driven.paper.takes = (0.001, 0.05)
    at: list[float] = []
    while driven.paper.now < 240.0:
        before = driven.paper.in_order
        await driven.claim(60)
        if driven.paper.in_order > before:
            at.append(driven.paper.now)
    tries = [now for earlier, now in pairwise(at) if now - earlier > 1.0]
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert [round(pause / 2) * 2 for pause in pauses] == [4, 8, 16, 32, 60]


async def test_the_order_comes_back_when_it_is_fair_again() -> None:
    """After the one who stood before all others is gone, jobs are claimed in order again."""
    driven = Driven(MANY)
    driven.paper.first = "t000"
    driven.paper.takes = (0.001, 0.01)
    while not driven.paper.claims:
        await driven.claim(100)
    driven.paper.first = None
    turns = len(driven.paper.claims)
    while driven.paper.now < 110.0:
        await driven.claim(100)
    assert len(driven.paper.claims) - turns < 2.5 / 0.01
    assert driven.lane._fairness.in_order


async def test_slow_jobs_of_many_are_claimed_by_turns() -> None:
    """Where slots come free too slowly to see in time who gets too little, the order ends, and is not tried again."""
    driven = Driven(MANY)
    while driven.paper.now < 160.0:
        driven.paper.now += 0.1
        await driven.claim(10)
    assert driven.paper.in_order <= 25


async def test_in_order_a_hint_leads_to_a_claim() -> None:
    """When the jobs of many are done the lane is dry, and after a hint it claims what came, without a look."""
    driven = Driven(dict.fromkeys(MANY, 1))
    assert len(await driven.claim(200)) == 100
    assert driven.lane.dry
    assert driven.lane.again_at == math.inf
    driven.paper.tenants["new"] = 1
    driven.lane.hint()
    assert await driven.claim(200) == {"new": 1}
    assert len(driven.paper.looks) == 1
