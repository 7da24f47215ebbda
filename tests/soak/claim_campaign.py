"""Eight processes that claim what they can from one table."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.soak.claiming import GO
from tests.soak.history import collect
from tests.soak.ledger import read
from tests.source import ROOT
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

CLAIMERS: Final = 8
RIVALS: Final = 4
"""So many of them must have claimed something, or nobody was in anybody's way: the last to come may find nothing."""
_FILL: Final = """
    INSERT INTO supervisor.jobs (kind, queue, service, args, priority)
    SELECT 'note', 'default', 'soak', '{}', number % 3 FROM generate_series(1, $1) AS number
"""


async def claimed_once(dsn: str, folder: Path, count: int, seed: int, limit: float) -> list[str]:
    """Fill the table, let them claim, and list every job that was not claimed once and completed once."""
    connection = await asyncpg.connect(dsn, timeout=LIMIT)
    try:
        await connection.execute(_FILL, count, timeout=limit)
        await asyncio.to_thread(_claim, dsn, folder, seed, limit)
        history = await collect(folder, connection)
    finally:
        await connection.close(timeout=LIMIT)
    wrong = [f"job {row['id']} is left in {row['place']}" for row in history.live]
    claims: dict[int, int] = {}
    for entry in history.of("claimed"):
        if entry.job in claims:
            wrong.append(
                f"job {entry.job} was claimed by {claims[entry.job]} and by {entry.pid}, under fence {entry.fence}"
            )
        claims[entry.job] = entry.pid
        if entry.fence != 1:
            wrong.append(f"job {entry.job} was claimed under fence {entry.fence}")
    wrong += [f"job {entry.job} was refused to {entry.pid}" for entry in history.of("refused")]
    ended = {row["id"] for row in history.past}
    if len(claims) != count or len(history.past) != count or len(ended) != count:
        wrong.append(f"of {count} jobs {len(claims)} were claimed, and {len(history.past)} are in the history")
    if len({entry.pid for entry in history.of("claimed")}) < RIVALS:
        wrong.append("void: too few claimed something")
    return wrong


def _claim(dsn: str, folder: Path, seed: int, limit: float) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            (sys.executable, "-m", "tests.soak.claiming", dsn, str(folder), f"claimer-{place}", str(seed + place)),
            cwd=ROOT,
            env=environ,
        )
        for place in range(CLAIMERS)
    ]
    try:
        _begin_together(folder, limit)
        codes = [process.wait(limit) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * CLAIMERS


def _begin_together(folder: Path, limit: float) -> None:
    give_up, moment = time.monotonic() + limit, threading.Event()
    while sum(entry.what == "ready" for entry in read(folder)) < CLAIMERS:
        assert time.monotonic() < give_up, "not all claimers came"
        moment.wait(0.02)
    (folder / GO).touch()
