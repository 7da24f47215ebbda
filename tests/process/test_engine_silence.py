"""Whole processes whose database falls silent: connections stay open, and nothing is answered."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.engine import QUICK, engine
from tests.process.silent_proxy import silent_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.conftest import Start


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="sv-") as name:
        yield Path(name)


@pytest.mark.soak
async def test_a_process_that_cannot_prove_its_lease_stops_its_handlers(start: Start, folder: Path) -> None:
    """Before a lease that cannot be renewed runs out, handlers are cancelled; afterwards the process goes on."""
    async with engine(start) as jobs, silent_proxy(jobs.dsn, folder) as (proxy, dsn):
        program = await asyncio.to_thread(jobs.on(dsn).run, *QUICK)
        (job,) = await jobs.enqueue("hold")
        await asyncio.to_thread(program.out.expect, f"holding {job}")
        proxy.speaks.clear()
        await asyncio.to_thread(program.out.expect, f"let go {job}")
        assert (await jobs.live(job))["lock_version"] == 1
        assert program.events("lease_in_doubt")
        proxy.speaks.set()
        await asyncio.to_thread(program.out.expect, f"held again {job}")
        assert await asyncio.to_thread(program.end) == 0


@pytest.mark.soak
async def test_a_process_stops_while_its_database_is_silent(start: Start, folder: Path) -> None:
    """A stop comes to its end, with nothing left behind, though nothing that it says to the database is answered."""
    async with engine(start) as jobs, silent_proxy(jobs.dsn, folder) as (proxy, dsn):
        program = await asyncio.to_thread(jobs.on(dsn).run, *QUICK)
        proxy.speaks.clear()
        assert await asyncio.to_thread(program.end) == 0
        assert program.events("child_abandoned") == []
        assert program.events("left_behind") == []
