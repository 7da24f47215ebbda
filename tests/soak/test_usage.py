"""A worker uses as much after many jobs as after few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.soak.campaign import campaign, prepared
from tests.soak.pause import pause
from tests.soak.server import server
from tests.soak.usage import growth, look
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.usage import Sample

CHUNK: Final = 10_000
SMALL: Final = 1_000
"""Jobs that are put in at a time: the smaller, the more samples."""
STEADY: Final = {"SUPERVISOR_APP": "tests.soak.nothing:app", "SUPERVISOR_CONCURRENCY": "100", "SUPERVISOR_LEASE": "30s"}
_FILL: Final = """
    INSERT INTO supervisor.jobs (kind, queue, service, args)
    SELECT 'note', 'default', 'default', '{}' FROM generate_series(1, $1)
"""


async def steady(dsn: str, folder: Path, total: int, chunk: int) -> list[Sample]:
    """Let one worker do so many jobs, of which no more than two chunks wait at a time; sample it meanwhile."""
    samples = []
    async with campaign(dsn, folder) as ours, ours.connected() as connection:
        worker = ours.crew.hire("steady", "here", STEADY)
        await ours.running(1)
        made, done = 0, 0
        while done < total:
            if made < total and made - done < chunk:
                await connection.execute(_FILL, min(chunk, total - made), timeout=60.0)
                made += min(chunk, total - made)
            samples.append(await look(worker.pid, connection, done))
            await pause(0.1)
            left = await connection.fetchval("SELECT count(*) FROM supervisor.jobs")
            done = made - left
        samples.append(await look(worker.pid, connection, done))
        assert worker.codes == []
        assert await worker.end() == 0
        print(samples[0], *samples[:: max(1, len(samples) // 10)], samples[-1], sep="\n")  # noqa: T201 - pytest shows it
    return samples


@pytest.mark.timeout(180)
async def test_a_worker_does_not_grow(tmp_path: Path) -> None:
    """Memory, descriptors, threads and sessions are the same after 20,000 jobs as after some thousands."""
    async with fresh_database(prepared) as dsn:
        assert growth(await steady(dsn, tmp_path, 20_000, SMALL), 6_000) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_worker_does_not_grow_over_a_million_jobs(tmp_path: Path) -> None:
    """The same holds for a million jobs, in a server that waits for the disk."""
    async with server() as ours:
        assert growth(await steady(ours.dsn, tmp_path, 1_000_000, CHUNK), 4_000) == []
