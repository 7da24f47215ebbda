"""Calls what parks jobs and brings them back, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

ALL_ON = """
UPDATE supervisor.control
SET killed = false, mode = 'normal', off_services = '{}', off_tenants = '{}', off_queues = '{}', off_kinds = '{}',
    gated_services = '{}', gated_tenants = '{}', gated_queues = '{}', gated_kinds = '{}', gated_tenanted = false,
    gated_all = false, epoch = epoch + 1"""
LINES = "SELECT id, reason, line FROM supervisor.jobs_waiting ORDER BY id"


async def switch(opened: Connection, change: str) -> None:
    """Change the switches: `off_tenants = '{a}'`."""
    await opened.execute(f"UPDATE supervisor.control SET {change}, epoch = epoch + 1")  # noqa: S608 - a case of ours


async def all_on(opened: Connection) -> None:
    """Turn everything on, and take all gates away."""
    await opened.execute(ALL_ON)


async def park(opened: Connection, blocks: int = 16) -> int:
    """Look through the whole table; return how many jobs were moved."""
    total, block = 0, 0
    while True:
        row = await opened.fetchrow("SELECT * FROM supervisor.park($1, $2)", block, blocks)
        assert row is not None
        total += int(row["moved"])
        if row["next_block"] is None:
            return total
        assert row["next_block"] == block + blocks
        block = row["next_block"]


async def unpark(opened: Connection, most: int = 1000, *, gates: bool = True) -> tuple[int, bool]:
    """Bring jobs back; return how many were moved, and whether there may be more."""
    row = await opened.fetchrow("SELECT * FROM supervisor.unpark($1, $2)", most, gates)
    assert row is not None
    return row["moved"], row["left_over"]


async def lines(opened: Connection) -> dict[int, tuple[str, str | None]]:
    """Return the reason and the line of each job that waits."""
    return {row["id"]: (row["reason"], row["line"]) for row in await opened.fetch(LINES)}
