"""Processes that claim at the same time never get the same job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.campaign import prepared
from tests.soak.claim_campaign import claimed_once
from tests.soak.server import server
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(120)
async def test_eight_processes_claim_each_job_once(tmp_path: Path) -> None:
    """Each of 8,000 jobs is claimed once, under its first fence, and completed once."""
    async with fresh_database(prepared) as dsn:
        assert await claimed_once(dsn, tmp_path, 8_000, 1, 90.0) == []


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_eight_processes_claim_each_of_many_jobs_once(soak_seed: int, tmp_path: Path) -> None:
    """The same holds for 100,000 jobs, in a server that waits for the disk."""
    async with server() as ours:
        assert await claimed_once(ours.dsn, tmp_path, 100_000, soak_seed, 900.0) == []
