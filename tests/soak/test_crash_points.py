"""A worker that is killed with -9 between any two things that it does loses no job and repeats no effect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.soak.campaign import campaign, prepared
from tests.soak.crash_points import VARIABLE
from tests.soak.judgement import Judgement
from tests.soak.pause import until
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

QUICK: Final = ["after-effect:3"]
THOROUGH: Final = [
    "before-claim:5",
    "during-claim:1",
    "after-claim:1",
    "after-claim:2",
    "in-handler:3",
    "after-effect:4",
    "before-record:3",
    "during-record:3",
    "after-record:3",
    "after-step:5",
    "in-transaction:1",
    "before-complete:1",
    "during-complete:1",
    "during-complete:2",
    "after-complete:1",
    "after-complete:4",
    "before-hand_back:1",
    "during-hand_back:1",
    "after-hand_back:1",
    "before-promote:1",
    "during-promote:1",
    "after-promote:1",
    "after-register:1",
    "before-sleep_on:1",
    "after-sleep_on:1",
]
KINDS: Final = ("note", "linger", "order", "ship", "ledger", "flaky", "nap", "crunch")


@pytest.mark.parametrize("place", [*QUICK, *(pytest.param(place, marks=pytest.mark.soak) for place in THOROUGH)])
@pytest.mark.timeout(150)
async def test_a_kill_at_this_place_costs_nothing(place: str, tmp_path: Path) -> None:
    """After a kill -9 at a named place every job completes once, with one effect each, and costs no attempt."""
    async with fresh_database(prepared) as dsn, campaign(dsn, tmp_path) as ours, asyncio.TaskGroup() as group:
        keeper = group.create_task(ours.crew.keep())
        ours.crew.hire("worker", "here", {VARIABLE: place})
        await ours.offered(*KINDS)
        for _ in range(3):
            for kind in KINDS:
                await ours.enqueue.one(kind, seconds=0.05, failures=1 if kind == "flaky" else 0)

        async def crashed() -> bool:
            return (tmp_path / f"crashed-{place.partition(':')[0]}").exists()

        await until(crashed, f"the crash {place}", 30.0)
        await ours.settle(60.0)
        keeper.cancel()
        left = await ours.dismissed()
        history, found = await ours.judge(Judgement())
        assert (found, left) == ([], [])
        assert history.count("crashed") == 1
        assert len(history.past) == 3 * len(KINDS)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=pytest.mark.soak)
        for place in (
            *("before-declare_dead:1", "during-declare_dead:1", "after-declare_dead:1"),
            *("before-release:1", "during-release:1", "after-release:1", "after-claim_suspects:1"),
        )
    ],
)
@pytest.mark.timeout(150)
async def test_a_kill_in_the_middle_of_a_recovery_costs_nothing(place: str, tmp_path: Path) -> None:
    """A process that dies while it takes over the jobs of a dead one is recovered from like that one."""
    async with fresh_database(prepared) as dsn, campaign(dsn, tmp_path) as ours, asyncio.TaskGroup() as group:
        ours.crew.hire("first", "here", {VARIABLE: "in-handler:6"})
        await ours.offered(*KINDS)
        for _ in range(3):
            for kind in KINDS:
                await ours.enqueue.one(kind, seconds=0.2)

        async def crashed() -> bool:
            return ours.crew.workers[0].is_over()

        await until(crashed, "the first crash", 30.0)
        ours.crew.workers[0].is_wanted = False
        ours.crew.hire("second", "here", {VARIABLE: place})
        keeper = group.create_task(ours.crew.keep())

        async def crashed_again() -> bool:
            return (tmp_path / f"crashed-{place.partition(':')[0]}").exists()

        await until(crashed_again, f"the crash {place}", 30.0)
        await ours.settle(60.0)
        keeper.cancel()
        left = await ours.dismissed()
        history, found = await ours.judge(Judgement())
        assert (found, left) == ([], [])
        assert history.count("crashed") == 2
