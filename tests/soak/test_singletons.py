"""Of five processes that register as one singleton at the same moment exactly one is active, every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.conftest import start as start  # noqa: PLC0414 - the fixture
from tests.process.engine import QUICK, engine
from tests.process.test_fleet_workers import ACTIVE, ONE, launch
from tests.soak.campaign import prepared
from tests.soak.contest import contest
from tests.soak.server import server
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from tests.process.conftest import Start


@pytest.mark.timeout(120)
async def test_of_five_at_once_one_is_active() -> None:
    """Fifteen rounds of five contenders each leave exactly one, however the one before ended."""
    async with fresh_database(prepared) as dsn:
        assert await contest(dsn, 15, 1) == []


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_of_five_at_once_one_is_active_200_times(soak_seed: int) -> None:
    """The same holds for 200 rounds, in a server that waits for the disk."""
    async with server() as ours:
        assert await contest(ours.dsn, 200, soak_seed) == []


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("round_", range(20))
async def test_of_five_programs_one_is_active(start: Start, round_: int) -> None:
    """Five whole programs that are started at once leave one registered and four that stand by."""
    async with engine(start) as jobs:
        five = [launch(jobs, *QUICK, *ONE) for _ in range(5)]
        for program in five:
            program.ready()
        active = {row["pid"] for row in await jobs.until(f"{ACTIVE} AND status = 'RUNNING'")}
        for program in five:
            if program.pid not in active:
                program.event("worker_stands_by")
        assert len(active) == 1, round_
        assert sum(len(program.events("worker_registered")) for program in five) == 1
