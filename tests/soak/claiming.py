"""A process that does nothing but claim and complete: `python -m tests.soak.claiming DSN FOLDER NAME SEED`.

It claims in batches of every size, from the start or behind its last job, and ends when there is nothing left.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Final

import uvloop

from supervisor.store import jobs, workers
from supervisor.store.job_rows import Cursor
from supervisor.store.link import connect
from supervisor.store.workers import Identity
from tests.soak.ledger import Ledger
from tests.soak.pause import pause

QUEUE: Final = "default"
KIND: Final = "note"
BATCHES: Final = (1, 3, 20, 100)
EMPTY: Final = 5
"""So many claims from the start that find nothing mean that there is nothing left."""
GO: Final = "go"
"""The file that tells all to begin."""


async def main(dsn: str, folder: Path, name: str, seed: int) -> None:
    """Claim all that there is."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    ledger = Ledger(folder)
    link = await connect(dsn, name=f"claiming {name}")
    worker = (await workers.register(link, Identity(name=name, host="host", pid=1, version=""), 3600.0)).id
    await workers.set_status(link, worker, "RUNNING")
    ledger.write("ready")
    while not (folder / GO).exists():
        await pause(0.005)
    empty, cursor = 0, None
    while empty < EMPTY:
        rows = await jobs.claim(link, worker, QUEUE, [KIND], rng.choice(BATCHES), cursor, within=60.0)
        if not rows:
            empty += cursor is None
            cursor = None
            await pause(0.01)
            continue
        empty = 0
        for row in rows:
            ledger.write("claimed", row.id, row.lock_version)
        cursor = Cursor.after(rows) if rng.random() < 0.8 else None
        fences = [row.lock_version for row in rows]
        done = await jobs.complete(link, [row.id for row in rows], fences, within=60.0)
        for row in rows:
            ledger.write("completed" if row.id in done else "refused", row.id, row.lock_version)
    await workers.set_status(link, worker, "STOPPED")
    await link.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
