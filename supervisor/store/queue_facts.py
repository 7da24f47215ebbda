"""Reads what the health of queues depends on besides their depth: who is alive, and what is switched off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from supervisor.store.link import Link

_WORKERS = """
    SELECT worker.id, worker.name, worker.worker_type, worker.status,
           extract(epoch FROM worker.lease_expires_at - clock_timestamp())::float8, worker.metadata::text
    FROM supervisor.workers AS worker WHERE worker.status IN ('STARTING', 'RUNNING', 'STOPPING') ORDER BY worker.id
"""
_SWITCHES = "SELECT killed, mode, off_services, off_tenants, off_queues, off_kinds FROM supervisor.control"


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker that is not known to be over. `lease_left` is in seconds; `queues` are None if it does not say them."""

    id: int
    name: str
    worker_type: str
    status: str
    lease_left: float
    queues: tuple[str, ...] | None

    @property
    def takes_jobs(self) -> bool:
        """Whether it starts jobs that nobody suspects."""
        return self.worker_type != "quarantine" and self.status in {"STARTING", "RUNNING"} and self.lease_left > 0

    def serves(self, queue: str) -> bool:
        """Whether it takes jobs of this queue, as far as is known."""
        return self.queues is None or queue in self.queues


@dataclass(frozen=True, slots=True)
class Switches:
    """What may not start: with `killed` nothing at all."""

    killed: bool
    mode: str
    off_services: tuple[str, ...]
    off_tenants: tuple[str, ...]
    off_queues: tuple[str, ...]
    off_kinds: tuple[str, ...]


async def live_workers(link: Link, *, within: float = USUAL) -> list[WorkerFacts]:
    """List the workers that are not known to be over, the silent ones too."""
    rows = await link.fetch(_WORKERS, within=within)
    return [WorkerFacts(row[0], row[1], row[2], row[3], row[4], _queues(row[5])) for row in rows]


async def switches(link: Link, *, within: float = USUAL) -> Switches:
    """Read what is switched off."""
    (row,) = await link.fetch(_SWITCHES, within=within)
    return Switches(row[0], row[1], *(tuple(names) for names in row[2:]))


def _queues(metadata: str) -> tuple[str, ...] | None:
    said = json.loads(metadata)
    found = said.get("queues") if isinstance(said, dict) else None
    return tuple(map(str, found)) if isinstance(found, list) else None
