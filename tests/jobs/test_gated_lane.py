"""The lane of jobs that need permits: when it asks, where it goes on, and when it wants to be asked again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from supervisor.jobs.gated_lane import SHARE, SOONEST, GatedLane
from supervisor.jobs.switches import UNKNOWN, Switches
from tests.jobs.claim_links import row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.link import Link

TAKES = 0.001


class Driven:
    """A lane and what it is told: how many jobs, where to go on, and after how many seconds to ask again."""

    def __init__(self, *answers: tuple[int, str | None, float | None], gates: bool = True) -> None:
        self.switches = Switches()
        self.gate(1, *(["noop"] if gates else []))
        self.lane = GatedLane("default", ["noop"], self.switches)
        self.answers = list(answers)
        self.asked: list[str | None] = []
        self.now = 100.0

    def gate(self, epoch: int, *kinds: str) -> None:
        """Put these kinds behind gates."""
        self.switches.put(replace(UNKNOWN, epoch=epoch, gated_kinds=kinds))

    async def fetch_as(self, _row: object, _sql: str, *args: object, within: float) -> Sequence[tuple[object, ...]]:
        """Answer a claim."""
        assert within > 0
        assert args[:3] == (1, "default", ["noop"])
        self.now += TAKES
        self.asked.append(cast("str | None", args[4]))
        count, go_on, wait = self.answers.pop(0)
        return [*(cast("tuple[object, ...]", row_of(number)) for number in range(count)), (*[None] * 16, go_on, wait)]

    async def claim(self, room: int = 5) -> int:
        """Claim once; return how many jobs there were."""
        return len(await self.lane.claim(cast("Link", self), 1, room, lambda: self.now))


async def test_without_gates_nothing_is_asked() -> None:
    """Where no limit holds jobs back the lane costs nothing, and with the first gate it asks."""
    driven = Driven((2, None, None), gates=False)
    assert await driven.claim() == 0
    assert (driven.lane.dry, driven.lane.again_at, driven.asked) == (True, math.inf, [])
    driven.gate(2, "noop")
    driven.lane.hint()
    assert await driven.claim() == 2


async def test_it_goes_on_where_it_ended() -> None:
    """Each call looks behind the lines of the last one, and after the last line from the first."""
    driven = Driven((5, "a", None), (0, "b", None), (5, None, None), (0, None, None))
    for dry in (False, False, False, True):
        await driven.claim()
        assert driven.lane.dry is dry
    assert driven.asked == [None, "a", "b", None]
    assert driven.lane.again_at == math.inf


@pytest.mark.parametrize("waits", [(3.0, 0.004), (0.004, None)])
async def test_it_asks_again_when_the_first_line_opens(waits: tuple[float | None, ...]) -> None:
    """Of all lines seen since the first, the one that opens first says when; before that nothing is asked."""
    driven = Driven((0, "a", waits[0]), (0, None, waits[1]), (1, None, None))
    await driven.claim()
    await driven.claim()
    assert driven.now < driven.lane.again_at <= driven.now + TAKES / SHARE + 1e-6
    assert await driven.claim() == 0
    assert len(driven.asked) == 2
    driven.now = driven.lane.again_at
    assert await driven.claim() == 1


async def test_it_asks_more_seldom_while_nothing_opens() -> None:
    """After jobs were started it asks again soon, and then twice as seldom each time, up to what it was told."""
    driven = Driven((1, None, 0.25), *[(0, None, 0.25)] * 10)
    pauses = []
    for _ in range(11):
        await driven.claim()
        pauses.append(driven.lane.again_at - driven.now)
        driven.now = driven.lane.again_at
    assert pauses[0] <= max(SOONEST, TAKES / SHARE) * 1.01
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(0.25)


async def test_hints_do_not_make_it_ask_all_the_time() -> None:
    """Hints that come one after another let it ask for a small part of the time."""
    driven = Driven(*[(0, None, None)] * 2000)
    while driven.now < 110.0:
        driven.lane.hint()
        await driven.claim()
        driven.now += 0.001
    assert len(driven.asked) * TAKES / 10.0 <= SHARE * 1.01
