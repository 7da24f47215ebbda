"""Statements on workers: their leases, what they sleep on, and the release of what dead ones hold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supervisor.store.link import Link

WorkerStatus: TypeAlias = Literal["RUNNING", "STOPPING", "STOPPED"]

_REGISTER: Final = (
    "SELECT id, lease_expires_at, epoch, cleaned "
    "FROM supervisor.register_worker($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)"
)
# The age of the oldest deadline is ours, the clock is the database's.
_HEARTBEAT: Final = (
    "SELECT lease_expires_at, epoch FROM supervisor.heartbeat($1, $2, "
    "clock_timestamp() + make_interval(secs => $3::float8), $4)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a worker is; `name` is unique for each boot of each process. Of a `singleton` only one may be active."""

    name: str
    host: str
    pid: int
    worker_type: str = "worker"
    version: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    singleton: str | None = None


class Registered(NamedTuple):
    """A worker's new row. `cleaned` are workers that were found to be over: what they hold is to be released."""

    id: int
    lease_expires_at: datetime
    epoch: int
    cleaned: list[int]


class Heartbeat(NamedTuple):
    """The answer to a heartbeat: the lease is renewed, and `epoch` counts the changes of the control row."""

    lease_expires_at: datetime
    epoch: int


class Held(NamedTuple):
    """A worker that holds jobs which it will not finish; `past_deadline`: it lives, but some are too late."""

    worker: int
    past_deadline: bool


class Released(NamedTuple):
    """A job that was taken from a worker; `quarantined`: it was its last loss."""

    id: int
    quarantined: bool


async def register(link: Link, identity: Identity, lease: float, *, within: float = USUAL) -> Registered:
    """Make a worker's row, with a lease of so many seconds, in status STARTING.

    Raises StatementRefused with SQLSTATE `fleet.SINGLETON_HELD` while another worker is the active singleton.
    """
    (row,) = await link.fetch(
        _REGISTER,
        identity.name,
        identity.host,
        identity.pid,
        identity.worker_type,
        identity.version,
        float(lease),
        json.dumps(dict(identity.metadata)),
        identity.singleton,
        within=within,
    )
    return Registered(*row)


async def heartbeat(  # noqa: PLR0913 - the function's own parameters
    link: Link, worker: int, lease: float, oldest: float | None, *, running: int | None = None, within: float = USUAL
) -> Heartbeat | None:
    """Renew a worker's lease for so many seconds; None: it is lost.

    `oldest`: seconds until the earliest deadline of the jobs that it runs, None if it runs none. `running`: how many it
    runs, None if it does not say.
    """
    row = await link.fetchrow(_HEARTBEAT, worker, float(lease), oldest, running, within=within)
    return None if row is None else Heartbeat(*row)


async def set_status(link: Link, worker: int, status: WorkerStatus, *, within: float = USUAL) -> bool:
    """Write a worker's status; False if it is over already, or gone."""
    return bool(await link.fetchval("SELECT supervisor.set_worker_status($1, $2)", worker, status, within=within))


async def declare_dead(link: Link, names: Sequence[str], *, within: float = USUAL) -> list[int]:
    """Mark workers LOST whose processes are proven dead; returns the ids of those that were not over already."""
    rows = await link.fetch("SELECT supervisor.declare_dead($1)", names, within=within)
    return [row[0] for row in rows]


async def sleep_on(link: Link, worker: int, queues: Sequence[str], *, within: float = USUAL) -> None:
    """Say on which queues a worker sleeps, so that it is notified; none: it is awake."""
    await link.fetch("SELECT supervisor.sleep_on($1, $2)", worker, queues, within=within)


async def find_lost(link: Link, *, within: float = USUAL) -> list[int]:
    """Mark LOST every worker whose lease has run out; returns them."""
    return [row[0] for row in await link.fetch("SELECT supervisor.find_lost()", within=within)]


async def living(link: Link, *, within: float = USUAL) -> int:
    """Count the workers that are not over."""
    sql = "SELECT count(*) FROM supervisor.workers WHERE status IN ('STARTING', 'RUNNING', 'STOPPING')"
    (row,) = await link.fetch(sql, within=within)
    count: int = row[0]
    return count


async def find_held(link: Link, *, within: float = USUAL) -> list[Held]:
    """List who holds jobs that it will not finish; reads all jobs once."""
    return [
        Held(*row)
        for row in await link.fetch("SELECT worker, past_deadline FROM supervisor.find_held()", within=within)
    ]


async def release_lost(  # noqa: PLR0913 - the function's own parameters
    link: Link,
    worker: int,
    most: int,
    max_losses: int,
    past_deadline: bool,  # noqa: FBT001 - as the function has it
    *,
    within: float = USUAL,
) -> list[Released]:
    """Release up to `most` jobs that a worker holds and will not finish; call it until it returns none."""
    rows = await link.fetch(
        "SELECT id, quarantined FROM supervisor.release_lost($1, $2, $3, $4)",
        worker,
        most,
        max_losses,
        past_deadline,
        within=within,
    )
    return [Released(*row) for row in rows]
