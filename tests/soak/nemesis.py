"""The faults of the swarm, and who commits them: a seed picks a subset, and then again and again one of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.soak.pause import pause
from tests.soak.workers import LEASE
from tests.store.fault_proxy import Way

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tests.soak.campaign import Campaign
    from tests.soak.server import Server
    from tests.soak.workers import Worker
    from tests.store.fault_proxy import FaultProxy

    Fault = Callable[["Nemesis"], Awaitable[None]]

GENTLE: Final = 0.3
HARSH: Final = 1.5
"""Seconds between two faults: from, to."""

LINGERING: Final = 6
"""Jobs that are enqueued before a worker is attacked, so that it has something to lose."""
LOOK: Final = 3.0
"""Seconds after which a worker without jobs will do."""

_HOLDERS: Final = """
    SELECT DISTINCT worker.pid
    FROM supervisor.jobs AS job JOIN supervisor.workers AS worker ON worker.id = job.claimed_by
    WHERE job.kind = 'linger' AND worker.worker_type = 'worker'
"""
_BACKENDS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE $1 AND pid <> pg_backend_pid()
      AND application_name <> 'campaign' AND random() < $2
"""


@dataclass(slots=True)
class Nemesis:
    """Commits faults. `happened` counts them by name."""

    campaign: Campaign
    server: Server
    proxy: FaultProxy
    rng: random.Random
    happened: dict[str, int] = field(default_factory=dict)
    one: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who ends the server, until it runs again."""

    async def rage(self, names: list[str], seconds: float) -> None:
        """Commit each of these faults at least once, and more of them until the time is over."""
        end = time.monotonic() + seconds
        waiting = list(names)
        self.rng.shuffle(waiting)
        while waiting or time.monotonic() < end:
            name = waiting.pop() if waiting else self.rng.choice(names)
            self.campaign.ledger.write("fault", text=name)
            await FAULTS[name](self)
            self.happened[name] = self.happened.get(name, 0) + 1
            await pause(self.rng.uniform(GENTLE, HARSH))

    async def heal(self) -> None:
        """Undo what is still in force."""
        self.proxy.heal()
        self.proxy.latency = 0.0
        await self.server.revive()
        for worker in self.campaign.crew.workers:
            if worker.is_paused:
                worker.send(signal.SIGCONT)

    async def worker(self) -> Worker | None:
        """Pick a worker that runs, if possible one that has jobs."""
        for _ in range(LINGERING):
            await self.campaign.enqueue.one("linger", seconds=LEASE)
        running = [worker for worker in self.campaign.crew.workers if not worker.is_over() and not worker.is_paused]
        give_up = time.monotonic() + LOOK
        while running and time.monotonic() < give_up:
            with suppress(OSError, asyncpg.PostgresError):
                async with self.campaign.connected() as connection:
                    pids = {row[0] for row in await connection.fetch(_HOLDERS)}
                busy = [worker for worker in running if not worker.is_over() and worker.pid in pids]
                if busy:
                    return self.rng.choice(busy)
            await pause(0.05)
        running = [worker for worker in running if not worker.is_over()]
        return self.rng.choice(running) if running else None

    async def terminate(self, name: str, share: float) -> None:
        """End sessions by the name of their application."""
        with suppress(OSError, asyncpg.PostgresError):
            async with self.campaign.connected() as connection:
                await connection.execute(_BACKENDS, name, share)

    async def brought(self, kind: str, seconds: float = 0.0) -> None:
        """Enqueue a job that is a fault itself."""
        await self.campaign.enqueue.one(kind, seconds)


async def kill_worker(nemesis: Nemesis) -> None:
    """Kill -9; it is started again on the same host."""
    worker = await nemesis.worker()
    if worker is not None:
        worker.send(signal.SIGKILL)


async def kill_everybody(nemesis: Nemesis) -> None:
    """Kill -9 of all workers in the same moment."""
    for worker in nemesis.campaign.crew.workers:
        worker.send(signal.SIGKILL)


async def pause_worker(nemesis: Nemesis) -> None:
    """SIGSTOP for longer than the lease; then it goes on as if nothing had been."""
    worker = await nemesis.worker()
    if worker is not None:
        worker.send(signal.SIGSTOP)
        await pause(LEASE * nemesis.rng.uniform(1.2, 2.2))
        worker.send(signal.SIGCONT)


async def blink_worker(nemesis: Nemesis) -> None:
    """SIGSTOP for about as long as the lease."""
    worker = await nemesis.worker()
    if worker is not None:
        worker.send(signal.SIGSTOP)
        await pause(LEASE * nemesis.rng.uniform(0.6, 1.1))
        worker.send(signal.SIGCONT)


async def stop_worker(nemesis: Nemesis) -> None:
    """SIGTERM, and another process in its place when it has ended."""
    worker = await nemesis.worker()
    if worker is not None:
        worker.send(signal.SIGTERM)


async def hurry_worker(nemesis: Nemesis) -> None:
    """SIGTERM twice."""
    worker = await nemesis.worker()
    if worker is not None:
        worker.send(signal.SIGTERM)
        await pause(nemesis.rng.uniform(0.0, 0.3))
        worker.send(signal.SIGTERM)


async def kill_lane(nemesis: Nemesis) -> None:
    """Kill -9 of a process for suspects, if there is one."""
    for pid in nemesis.campaign.crew.lanes()[:1]:
        nemesis.campaign.ledger.write("sending", text="SIGKILL", pid=pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        nemesis.campaign.ledger.write("sent", text="SIGKILL", pid=pid)


async def terminate_some(nemesis: Nemesis) -> None:
    """pg_terminate_backend of a third of all sessions."""
    await nemesis.terminate("%", 0.34)


async def terminate_listeners(nemesis: Nemesis) -> None:
    """The same for all that listen."""
    await nemesis.terminate("%listener", 1.0)


async def terminate_heartbeats(nemesis: Nemesis) -> None:
    """The same for all heartbeats."""
    await nemesis.terminate("%heartbeat", 1.0)


async def terminate_claimers(nemesis: Nemesis) -> None:
    """The same for all claimers."""
    await nemesis.terminate("%claimer", 1.0)


async def kill_server(nemesis: Nemesis) -> None:
    """Kill -9 of the postmaster, and a start after some time."""
    async with nemesis.one:
        await nemesis.server.end(signal.SIGKILL)
        await pause(nemesis.rng.choice((0.0, 0.5, 3.0)))
        await nemesis.server.revive()


async def stop_server(nemesis: Nemesis) -> None:
    """An immediate stop, as after a failure of the machine."""
    async with nemesis.one:
        await nemesis.server.end(signal.SIGQUIT)
        await pause(nemesis.rng.choice((0.0, 1.0)))
        await nemesis.server.revive()


async def silence(nemesis: Nemesis) -> None:
    """Connections through the proxy swallow everything, for less or more than a lease."""
    nemesis.proxy.swallow(*Way)
    await pause(nemesis.rng.choice((0.5, 3.0)))
    nemesis.proxy.heal()


async def half_silence(nemesis: Nemesis) -> None:
    """What the server answers does not arrive, though it hears everything."""
    nemesis.proxy.swallow(Way.DOWN)
    await pause(nemesis.rng.choice((0.5, 3.0)))
    nemesis.proxy.heal()


async def silence_and_cut(nemesis: Nemesis) -> None:
    """Answers are lost for good: the server hears everything, and then the connections end."""
    nemesis.proxy.swallow(Way.DOWN)
    await pause(nemesis.rng.uniform(0.05, 1.0))
    nemesis.proxy.reset()
    nemesis.proxy.heal()


async def reset(nemesis: Nemesis) -> None:
    """All connections through the proxy end by RST."""
    nemesis.proxy.reset()


async def slowness(nemesis: Nemesis) -> None:
    """Each piece is late for a while."""
    nemesis.proxy.latency = nemesis.rng.uniform(0.02, 0.2)
    await pause(1.0)
    nemesis.proxy.latency = 0.0


async def block_loop(nemesis: Nemesis) -> None:
    """A handler that blocks its event loop for longer than the lease."""
    await nemesis.brought("block", seconds=LEASE * 1.5)


async def ignore_cancel(nemesis: Nemesis) -> None:
    """A handler that ignores its cancel for longer than the lease."""
    await nemesis.brought("stubborn", seconds=LEASE * 1.5)


async def ignore_every_cancel(nemesis: Nemesis) -> None:
    """A handler in a thread that nothing can end: its process gives it up, and ends."""
    if nemesis.happened.get("ignore_every_cancel", 0) < 1:
        await nemesis.brought("stuck", seconds=60.0)


async def poison(nemesis: Nemesis) -> None:
    """A job that ends its process."""
    if nemesis.happened.get("poison", 0) < 2:
        await nemesis.brought("poison")


FAULTS: Final[dict[str, Fault]] = {
    fault.__name__: fault
    for fault in (
        *(kill_worker, kill_everybody, pause_worker, blink_worker, stop_worker, hurry_worker, kill_lane),
        *(terminate_some, terminate_listeners, terminate_heartbeats, terminate_claimers, kill_server, stop_server),
        *(silence, half_silence, silence_and_cut, reset, slowness),
        *(block_loop, ignore_cancel, ignore_every_cancel, poison),
    )
}
