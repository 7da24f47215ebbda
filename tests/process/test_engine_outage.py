"""Whole processes whose database dies under them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from supervisor import Client
from supervisor.store.embedded import EmbeddedPostgres, postmaster
from tests.process.engine import migrated
from tests.process.job_apps import hold, note
from tests.store.postgres import LIMIT, bindir, open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.conftest import Start
    from tests.process.program import Program


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Give an empty data folder for a server of the test's own."""
    folder = open_folder()
    yield folder
    remove_folder(folder)


async def test_a_process_outlives_its_database(start: Start, data_dir: Path) -> None:
    """A database that is killed and started again costs no job, no attempt and no worker."""
    async with EmbeddedPostgres(data_dir, bindir=bindir()) as server:
        await migrated(server.dsn)
        program = _run(start, server.dsn)
        async with Client(server.dsn) as client:
            running = (await client.enqueue(hold)).id
            program.out.expect(f"holding {running}")
            os.kill(server.pid, signal.SIGKILL)
            program.event("database_lost")
            await server.start()
            program.event("database_back")
            waiting = (await client.enqueue(note)).id
            program.out.expect(f"noted {waiting}")
        assert program.end() == 0
        connection = await asyncpg.connect(server.dsn, timeout=LIMIT)
        row = await connection.fetchrow("SELECT * FROM supervisor.jobs WHERE id = $1", running)
        assert row is not None
        assert (row["attempts"], row["losses"], row["interruptions"]) == (0, 0, 1)
        assert await connection.fetchval("SELECT array_agg(status) FROM supervisor.workers") == ["STOPPED"]
        await connection.close()


async def test_a_process_revives_its_own_database(start: Start, data_dir: Path) -> None:
    """A process that was given no database starts one, starts it again when it is killed, and stops it at its end."""
    program = start(
        "tests.process.job_apps:app",
        *("--drain-timeout", "0.2s", "--data-dir", str(data_dir), "--pg-bindir", str(bindir())),
    ).ready()
    async with EmbeddedPostgres(data_dir, bindir=bindir()) as server, Client(server.dsn) as client:
        first = (await client.enqueue(note)).id
        program.out.expect(f"noted {first}")
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        program.event("database_lost")
        program.event("database_back")
        await server.start()
        assert server.attached
        assert server.pid != killed
        second = (await client.enqueue(note)).id
        program.out.expect(f"noted {second}")
    assert program.end() == 0
    assert postmaster.running(data_dir / "postgres/cluster") is None


def _run(start: Start, dsn: str) -> Program:
    return start("tests.process.job_apps:app", "--drain-timeout", "0.2s", environ={"DATABASE_URL": dsn}).ready()
