"""Turns switches through the functions of the schema, for tests that say only what it is about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

CHANGE: Final = (
    "SELECT * FROM supervisor.change_switch($1, $2, $3, $4, $5, cancel_running => $6, "
    "expires_at => clock_timestamp() + make_interval(secs => $7), dry_run => $8, if_epoch => $9)"
)
LOCK_SHARED: Final = "SELECT supervisor.control_lock_shared()"
USUAL: Final[dict[str, bool | str]] = {"kill_switch": False, "mode": "normal"}
"""What is set where nothing is; of all other scopes false."""


async def change(  # noqa: PLR0913 - keywords, each with a default
    opened: Connection,
    scope: str,
    name: str | None = None,
    value: object = True,  # noqa: FBT002 - the field of a change
    *,
    reason: str | None = "why",
    actor: str | None = "me",
    cancel: bool | None = False,
    expires: float | None = None,
    dry_run: bool | None = False,
    if_epoch: int | None = None,
) -> Record:
    """Change a switch; `expires` is in seconds from now."""
    row = await opened.fetchrow(
        CHANGE, scope, name, json.dumps(value), reason, actor, cancel, expires, dry_run, if_epoch
    )
    assert row is not None
    return row


async def control(opened: Connection) -> dict[str, Any]:
    """Return the control row."""
    row = await opened.fetchrow("SELECT * FROM supervisor.control")
    assert row is not None
    return dict(row)


async def written(opened: Connection) -> list[object]:
    """Return everything that a change writes."""
    tables = ("control", "switches", "revocations", "system_audit_log", "audit_head")
    return [await opened.fetch(f"SELECT * FROM supervisor.{table} ORDER BY 1") for table in tables]  # noqa: S608


async def log(opened: Connection) -> list[Record]:
    """Return the audit log."""
    return await opened.fetch("SELECT * FROM supervisor.system_audit_log ORDER BY id")


async def make_due(opened: Connection) -> None:
    """Let the time of everything that expires be over."""
    await opened.execute(
        "UPDATE supervisor.switches SET expires_at = clock_timestamp() - interval '1 s' WHERE expires_at IS NOT NULL"
    )


async def expire(opened: Connection) -> list[int]:
    """Turn back what has expired; return the epochs."""
    return [row[0] for row in await opened.fetch("SELECT supervisor.expire_switches()")]
