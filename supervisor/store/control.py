"""Statements on the switches: what is off, who turns it off and on, and which workers have confirmed it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final, cast

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store.control_rows import (
    Change,
    Confirmation,
    Mode,
    Revoked,
    RunningJob,
    SafetyCheck,
    Scope,
    Setting,
    Switches,
    Unconfirmed,
    Watch,
)
from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from supervisor.store.link import Link

__all__ = [
    "Change",
    "Confirmation",
    "Mode",
    "Revoked",
    "RunningJob",
    "SafetyCheck",
    "Scope",
    "Setting",
    "Switches",
    "Unconfirmed",
    "Watch",
    "change_switch",
    "confirm",
    "confirmed",
    "expire",
    "read",
    "revoke",
    "revoke_held",
    "safety_check",
    "settings",
    "stopped",
    "watch",
]

BLOCKS: Final = 2_000
"""Blocks of the table of jobs in which one statement looks for what is to be stopped: some 16 MB."""
LOCKED: Final = "SV005"
"""The SQLSTATE for a change that could not have the lock of the switches within 2 s."""
MOVED_ON: Final = "SV003"
"""The SQLSTATE for a change that was meant for another epoch."""

_FIRST_LOOK: Final = 0.002
_SLOWER: Final = 1.5
_SLOWEST: Final = 0.02
_HELD_UP: Final = 0.05

_CHANGE: Final = (
    "SELECT epoch, changed, before, after, stopped_waiting, stopped_running, exact, running "
    "FROM supervisor.change_switch($1, $2, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10, $11)"
)
_READ: Final = (
    "SELECT epoch, killed, mode, off_services, off_tenants, off_queues, off_kinds, gated_services, gated_tenants, "
    "gated_queues, gated_kinds, gated_tenanted, gated_all FROM supervisor.control"
)
_WATCH: Final = (
    "SELECT epoch, "
    "(SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::float8 FROM supervisor.switches), "
    "EXISTS (SELECT FROM supervisor.revocations WHERE done_at IS NULL) FROM supervisor.control"
)
_SETTINGS: Final = (
    "SELECT scope, name, value, reason, actor, since, expires_at, epoch FROM supervisor.switches "
    "WHERE ($1::text IS NULL OR scope = $1) AND ($2::text IS NULL OR name = $2) ORDER BY scope, name LIMIT $3"
)
_CHECK: Final = (
    "SELECT allowed, reason, global_kill_switch, service_disabled, website_paused, observe_only_mode, safe_mode, "
    "why, actor, epoch FROM supervisor.safety_check($1, $2, $3, $4, $5, $6)"
)
_LIVE: Final = (
    "SELECT count(*) FROM supervisor.workers "
    "WHERE status IN ('STARTING', 'RUNNING', 'STOPPING') AND lease_expires_at > clock_timestamp()"
)
_UNCONFIRMED: Final = "SELECT worker, name, host, confirmed_epoch FROM supervisor.unconfirmed($1)"
_REVOKE: Final = "SELECT ids, held_up, done FROM supervisor.revoke($1)"
_STOPPED: Final = "SELECT stopped, done_at IS NOT NULL FROM supervisor.revocations WHERE epoch = $1"


async def change_switch(  # noqa: PLR0913 - the properties of a change, nearly all by keyword
    link: Link,
    scope: Scope,
    name: str | None,
    value: bool | str,  # noqa: FBT001 - what it is about
    *,
    reason: str,
    actor: str,
    source: str | None = None,
    request_id: str | None = None,
    cancel_running: bool = False,
    expires_at: datetime | None = None,
    dry_run: bool = False,
    if_epoch: int | None = None,
    within: float = USUAL,
) -> Change:
    """Set a switch: True stops the scope, False lets it run; for the mode, a Mode. In force when this returns.

    What is set already is no change. Where somebody holds the lock of the switches, this tries again as long as
    `within` lasts, and ends sessions that hold it for seconds and wait for their client.

    Raises StatementRefused (22023) for what is wrong, (SV003) if the epoch is not `if_epoch`, DatabaseUnavailable.
    """
    ends = time.monotonic() + within
    arguments = (scope.value, name, json.dumps(value), reason, actor, source, request_id, cancel_running, expires_at)
    while True:
        left = max(ends - time.monotonic(), 0.1)
        try:
            row = await link.fetchrow(_CHANGE, *arguments, dry_run, if_epoch, within=left)
        except StatementRefused as error:
            if error.sqlstate != LOCKED:
                raise
            if link.is_in_transaction or time.monotonic() >= ends:
                raise DatabaseUnavailable(error.message) from None
            await link.fetch("SELECT supervisor.end_stuck_holders()", within=USUAL)
        else:
            return _change(cast("Sequence[object]", row))


async def read(link: Link, *, within: float = USUAL) -> Switches:
    """Read the control row."""
    row = cast("Sequence[object]", await link.fetchrow(_READ, within=within))
    services, tenants, queues, kinds, *gated = (tuple(cast("list[str]", names)) for names in row[3:11])
    return Switches(
        cast("int", row[0]),
        bool(row[1]),
        Mode(str(row[2])),
        services,
        tenants,
        queues,
        kinds,
        gated[0],
        gated[1],
        gated[2],
        gated[3],
        gated_tenanted=bool(row[11]),
        gated_all=bool(row[12]),
    )


async def settings(
    link: Link, scope: Scope | None = None, name: str | None = None, *, most: int = 1000, within: float = USUAL
) -> list[Setting]:
    """List what is not as usual: of all scopes or one, or one name of it."""
    rows = await link.fetch(_SETTINGS, None if scope is None else scope.value, name, most, within=within)
    return [Setting(Scope(row[0]), row[1] or None, json.loads(row[2]), *tuple(row)[3:]) for row in rows]


async def watch(link: Link, *, within: float = USUAL) -> Watch:
    """Look whether there is anything to do for a switchboard."""
    row = cast("Sequence[object]", await link.fetchrow(_WATCH, within=within))
    return Watch(cast("int", row[0]), cast("float | None", row[1]), bool(row[2]))


async def safety_check(  # noqa: PLR0913 - the properties of the work
    link: Link,
    service: str | None,
    tenant: str | None = None,
    *,
    requires_changes: bool = True,
    queue: str | None = None,
    kind: str | None = None,
    essential: bool = False,
    within: float = USUAL,
) -> SafetyCheck:
    """Ask the function that also the claim asks. In a transaction, no switch changes until that ends."""
    row = await link.fetchrow(_CHECK, service, tenant, requires_changes, queue, kind, essential, within=within)
    return SafetyCheck(*cast("tuple[object, ...]", row))  # type: ignore[arg-type]  # its columns, in order


async def confirm(link: Link, worker: int, epoch: int, *, within: float = USUAL) -> bool:
    """Say that a worker has seen an epoch; False if it had said so, or is over."""
    return bool(await link.fetchval("SELECT supervisor.confirm_epoch($1, $2)", worker, epoch, within=within))


async def confirmed(link: Link, epoch: int, within: float) -> Confirmation:
    """Wait up to `within` seconds until every live worker has confirmed this epoch or a later one; 0 only looks."""
    began = time.monotonic()
    pause = _FIRST_LOOK
    while True:
        missing = tuple(Unconfirmed(*row) for row in await link.fetch(_UNCONFIRMED, epoch))
        seconds = time.monotonic() - began
        if not missing or seconds >= within:
            of = max(cast("int", await link.fetchval(_LIVE)), len(missing))
            return Confirmation(of - len(missing), of, seconds, missing)
        await asyncio.sleep(min(pause, max(within - seconds, 0.0)))
        pause = min(pause * _SLOWER, _SLOWEST)


async def revoke(link: Link, blocks: int = BLOCKS, *, within: float = USUAL) -> Revoked | None:
    """Look through so many blocks of jobs for what is to be stopped; None: nothing is, or somebody else is at it."""
    row = await link.fetchrow(_REVOKE, blocks, within=within)
    return None if row is None else Revoked(tuple(row["ids"]), row["held_up"], row["done"])


async def revoke_held(link: Link, worker: int, ids: Sequence[int], *, within: float = USUAL) -> dict[int, bool]:
    """Stop those of a worker's jobs that are to be stopped; False for one that a transaction holds, to try again."""
    rows = await link.fetch("SELECT id, stopped FROM supervisor.revoke_held($1, $2)", worker, ids, within=within)
    return {row[0]: row[1] for row in rows}


async def stopped(link: Link, epoch: int, within: float) -> int | None:
    """Help for up to `within` seconds to stop what the change of this epoch revoked; return how many were.

    None if some may be left: the workers go on with it. 0 for a change that revoked nothing.
    """
    ends = time.monotonic() + within
    pause = _FIRST_LOOK
    while True:
        row = await link.fetchrow(_STOPPED, epoch)
        if row is None or row[1]:
            return 0 if row is None else cast("int", row[0])
        if time.monotonic() >= ends:
            return None
        found = await revoke(link)
        if found is None or found.held_up:
            await asyncio.sleep(pause)
            pause = min(pause * _SLOWER, _HELD_UP)


async def expire(link: Link, *, within: float = USUAL) -> list[int]:
    """Turn back switches whose time is over; returns the epochs that this made."""
    return [row[0] for row in await link.fetch("SELECT supervisor.expire_switches()", within=within)]


def _change(row: Sequence[object]) -> Change:
    running = json.loads(cast("str | None", row[7]) or "[]")
    return Change(
        cast("int", row[0]),
        bool(row[1]),
        json.loads(cast("str", row[2])),
        json.loads(cast("str", row[3])),
        cast("int | None", row[4]),
        cast("int | None", row[5]),
        cast("bool | None", row[6]),
        tuple(RunningJob(**job) for job in running),
    )
