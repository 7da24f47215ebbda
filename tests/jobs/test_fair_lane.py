"""The lane of tenants' jobs: whom it finds, whom it asks, and how often it looks."""

from __future__ import annotations

from itertools import pairwise

from supervisor.jobs.claim_lane import LONGEST, RESCAN, SHARE
from supervisor.jobs.fair_lane import FEW, LOOK, MEETS, NEAR, PAGE, QUICKLY, FairLane
from tests.jobs.claim_links import PaperLink


class Driven:
    """A lane and what it asks."""

    def __init__(self, tenants: dict[str, int]) -> None:
        self.lane = FairLane("default", ["noop"])
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
    driven = Driven({f"t{number:04}": 100 for number in range(200)})
    met: list[str] = []
    while len(met) < 200:
        await driven.claim(200)
        met += driven.paper.claims[-1]
    assert max(map(len, driven.paper.claims)) == MEETS
    assert len(set(met[:200])) == 200


async def test_long_jobs_are_shared_evenly() -> None:
    """Where slots come free seldom, each claim meets as many tenants as it can, and else some jobs of fewer."""
    driven = Driven({f"t{number:04}": 100 for number in range(100)})
    assert len(await driven.claim(64)) == MEETS
    assert set((await driven.claim(64)).values()) == {FEW}
    driven.paper.now += 2 * QUICKLY
    assert len(await driven.claim(64)) == MEETS


async def test_pages_go_on_until_all_are_known() -> None:
    """With more tenants than one look finds, the next look goes on behind them, and after the last from the first."""
    driven = Driven({f"t{number:04}": 10_000 for number in range(PAGE + 10)})
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


async def test_gone_tenants_are_forgotten() -> None:
    """Of tenants that came once and have nothing now, not all are remembered for ever."""
    driven = Driven({})
    for start in range(0, 9000, 300):
        driven.paper.tenants = {f"t{start + number}": 1 for number in range(300)}
        driven.paper.now += 10.0
        driven.lane.hint()
        while await driven.claim(500):
            pass
    assert len(driven.lane._tenants) <= 5000
