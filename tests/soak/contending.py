"""A process that registers as a singleton whenever it is told to: `python -m tests.soak.contending DSN NAME`.

It reads `go ROUND LEASE` and answers `won WORKER` or `lost`, and `end STATUS`, which it writes to the worker it won.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import workers
from supervisor.store.fleet import SINGLETON_HELD
from supervisor.store.link import connect
from supervisor.store.workers import Identity

SINGLETON: Final = "shop"


async def main(dsn: str, name: str) -> None:
    """Do as the lines of standard input say, to their end."""
    link = await connect(dsn, name=f"contending {name}")
    worker = 0
    answer("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["go", round_, lease]:
                identity = Identity(name=f"{name}-{round_}", host=name, pid=1, version="", singleton=SINGLETON)
                try:
                    worker = (await workers.register(link, identity, float(lease))).id
                except StatementRefused as refused:
                    answer("lost" if refused.sqlstate == SINGLETON_HELD else str(refused))
                except DatabaseUnavailable as error:
                    answer(str(error))
                else:
                    answer(f"won {worker}")
            case ["end", "STOPPING" | "STOPPED" | "RUNNING" as status]:
                answer(str(await workers.set_status(link, worker, status)))
            case _:
                answer(f"what is {line!r}?")
    await link.close()


def answer(text: str) -> None:
    """Tell the driver."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
