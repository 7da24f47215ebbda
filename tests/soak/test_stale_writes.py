"""Whatever a run that has lost its job writes, it is refused, and nothing changes."""

from __future__ import annotations

import random

import pytest

from supervisor.store.migrate import up
from tests.soak.stale_losses import LOSSES
from tests.soak.stale_write_kinds import WRITES
from tests.soak.stale_writes import stale_writes
from tests.store.postgres import fresh_database


async def run(seed: int, rounds: int) -> int:
    """Run the campaign on a database of its own; return the number of stale writes."""
    async with fresh_database(up) as dsn:
        attempts, wrong = await stale_writes(dsn, random.Random(seed), rounds)  # noqa: S311 - repeatable, not secret
    assert wrong == []
    return attempts


async def test_every_stale_write_is_refused() -> None:
    """Each of the writes, after each of the ways to lose a job, finds the fence closed."""
    assert await run(1, 1) >= 2 * len(LOSSES) * len(WRITES)


@pytest.mark.soak
async def test_thousands_of_stale_writes_are_refused(soak_seed: int) -> None:
    """The same holds in any order, again and again."""
    assert await run(soak_seed, 20) >= 5_000
