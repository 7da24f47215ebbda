"""Clients that are killed, and whose database is cut off, while they enqueue: what they were told is true."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from supervisor.store import kinds
from supervisor.store.kinds import Kind
from supervisor.store.link import connect
from tests.soak.checker import check
from tests.soak.enqueue_checker import check_enqueues
from tests.soak.history import collect
from tests.soak.judgement import Judgement
from tests.soak.pause import pause
from tests.soak.server import server
from tests.source import ROOT
from tests.store.fault_proxy import FaultProxy, Way, proxied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.soak.server import Server

NOTE: Final = Kind("note", "default", "soak", 3, 300.0, changes=True, essential=False)
TOKENS: Final = 1_000_000
"""So many tokens has each process, so that no two share one."""
_TERMINATE: Final = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name LIKE 'supervisor client%' AND random() < 0.5
"""


@dataclass(slots=True)
class Clients:
    """Two clients, one of them behind the proxy; each process has a seed of its own."""

    folder: Path
    seed: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0

    def start(self, dsn: str) -> None:
        """Start a client."""
        self.started += 1
        arguments = (dsn, str(self.folder), str(self.seed + self.started), str(self.started * TOKENS))
        with (self.folder / f"client-{self.started}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    (sys.executable, "-m", "tests.soak.enqueuing", *arguments),
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stderr=log,
                )
            )

    def kill(self, place: int) -> None:
        """Kill -9."""
        self.processes[place].send_signal(signal.SIGKILL)
        self.processes.pop(place).wait()


@contextlib.contextmanager
def clients(folder: Path, seed: int) -> Iterator[Clients]:
    """Give no clients yet; they are killed at the end."""
    ours = Clients(folder, seed)
    try:
        yield ours
    finally:
        while ours.processes:
            ours.kill(0)


async def cut(proxy: FaultProxy, rng: random.Random) -> None:
    """Let some bytes more pass, in one direction, and end the connections."""
    way = rng.choice(list(Way))
    proxy.cut_after(rng.randint(0, 400), way)
    await pause(rng.uniform(0.05, 0.4))
    proxy.reset()
    proxy._room[way] = None
    proxy.heal()


async def terminate(ours: Server) -> None:
    """End sessions of clients on the server's side."""
    with contextlib.suppress(OSError, asyncpg.PostgresError):
        async with ours.connected() as connection:
            await connection.execute(_TERMINATE)


async def campaign(seed: int, seconds: float, folder: Path) -> str:
    """Run it, check it, and say what happened."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    happened = dict.fromkeys(("kill", "cut", "terminate", "crash"), 0)
    (folder / "orders").mkdir()
    async with server() as ours, proxied(ours.dsn) as proxy:
        link = await connect(ours.dsn)
        await kinds.offer(link, [NOTE], replace=True)
        await link.close()
        with clients(folder, seed) as running:
            routes = [proxy.dsn, ours.dsn]
            for route in routes:
                running.start(route)
            await pause(1.5)
            end = time.monotonic() + seconds
            while time.monotonic() < end or not all(happened.values()):
                what = rng.choices(("kill", "cut", "terminate", "crash"), (2, 6, 2, 1))[0]
                happened[what] += 1
                if what == "kill":
                    running.kill(0)
                    routes.append(routes.pop(0))
                    running.start(routes[-1])
                    await pause(1.0)
                elif what == "cut":
                    await cut(proxy, rng)
                elif what == "terminate":
                    await terminate(ours)
                else:
                    await ours.end(rng.choice((signal.SIGKILL, signal.SIGQUIT)))
                    await ours.revive()
                await pause(rng.uniform(0.1, 0.6))
        async with ours.connected() as connection:
            history = await collect(folder, connection)
    counts = {
        what: history.count(what) for what in ("asked", "acked", "standing", "batched", "unknown", "refused-enqueue")
    }
    told = f"seed {seed}: {happened} {counts} jobs={len(history.live)}"
    print(told)  # noqa: T201 - pytest shows it when the run fails, or with -s
    assert check(history, Judgement(is_settled=False)) + check_enqueues(history) == [], told
    assert min(counts["acked"], counts["standing"], counts["batched"]) > 0, f"void: {told}"
    assert counts["unknown"] > 0, f"void, no answer was lost: {told}"
    return told


@pytest.mark.timeout(180)
async def test_an_enqueue_that_was_confirmed_is_there(tmp_path: Path) -> None:
    """Whatever is killed or cut off, confirmed jobs are there, refused ones are not, and no key has two."""
    await campaign(3, 3.0, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(5))
async def test_an_enqueue_that_was_confirmed_is_there_for_long(number: int, soak_seed: int, tmp_path: Path) -> None:
    """The same holds for longer."""
    await campaign(soak_seed + number, 30.0, tmp_path)
