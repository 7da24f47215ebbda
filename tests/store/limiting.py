"""Calls the functions of limits as a worker does, and moves time on, which to a limit is: everything was earlier."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from tests.store.sql_session import pairs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg import Record

    from tests.store.sql_session import Connection, Pair

MOVE_ON = """
UPDATE supervisor.limit_states
SET starts = ARRAY(SELECT one.start - make_interval(secs => $1)
                   FROM unnest(starts) WITH ORDINALITY AS one (start, place)
                   ORDER BY one.place),
    tat = tat - make_interval(secs => $1), period_start = period_start - make_interval(secs => $1),
    updated_at = updated_at - make_interval(secs => $1)"""


class Gated(NamedTuple):
    """The jobs that a claim behind the gates gave, where to go on, and when a line opens."""

    jobs: list[Record]
    go_on: str | None
    wait: float | None

    @property
    def pairs(self) -> list[Pair]:
        """The ids and fences."""
        return pairs_of(self.jobs)


async def one_row(opened: Connection, call: str, *args: object) -> Record:
    """Return the row that a call gives."""
    (row,) = await opened.fetch(call, *args)
    return row


async def set_limit(opened: Connection, name: str, **definition: object) -> Record:
    """Make a limit, or change it; a window of a minute at start unless something else is said."""
    known = {"form": "window", **definition}
    if known["form"] in {"window", "rate"}:
        known.setdefault("period_s", 60.0)
    if known["form"] in {"quota", "budget"}:
        known.setdefault("unit", "day")
    if known["form"] == "budget":
        known.setdefault("place", "call")
    call = "SELECT * FROM supervisor.set_limit($1, $2, 'because', 'ann')"
    return await one_row(opened, call, name, json.dumps(known))


async def drop_limit(opened: Connection, name: str) -> Record:
    """Remove a limit."""
    return await one_row(opened, "SELECT * FROM supervisor.drop_limit($1, 'because', 'ann')", name)


async def claim_gated(  # noqa: PLR0913 - keywords, each with a default
    opened: Connection,
    worker: int,
    most: int = 100,
    after: str | None = None,
    *,
    kinds: Sequence[str] = ("noop",),
    queue: str = "default",
    losses: tuple[int, int] = (0, 0),
) -> Gated:
    """Make one call."""
    call = "SELECT * FROM supervisor.claim_gated($1, $2, $3, $4, $5, $6, $7)"
    rows = await opened.fetch(call, worker, queue, list(kinds), most, after, *losses)
    assert rows[-1]["id"] is None
    return Gated(rows[:-1], rows[-1]["line"], rows[-1]["wait_s"])


async def claim_all(opened: Connection, worker: int, most: int = 100, **options: object) -> list[Record]:
    """Call until every line was looked at, or there is no more room."""
    jobs: list[Record] = []
    after = None
    while len(jobs) < most:
        found = await claim_gated(opened, worker, most - len(jobs), after, **options)  # type: ignore[arg-type]
        jobs += found.jobs
        after = found.go_on
        if after is None:
            break
    return jobs


async def add(
    opened: Connection, tenant: str | None = None, *, kind: str = "noop", args: object = None, priority: int = 0
) -> int:
    """Enqueue one job; return its id."""
    call = "SELECT supervisor.enqueue($1, $2, tenant => $3, priority => $4)"
    return int(await opened.fetchval(call, kind, json.dumps({} if args is None else args), tenant, priority))


async def move_on(opened: Connection, seconds: float) -> None:
    """Let so much time pass."""
    await opened.execute(MOVE_ON, seconds)
    await opened.execute("UPDATE supervisor.gate_lines SET open_at = open_at - make_interval(secs => $1)", seconds)
    await opened.execute(
        "UPDATE supervisor.reservations SET expires_at = expires_at - make_interval(secs => $1)", seconds
    )


async def states(opened: Connection, name: str) -> dict[str, Record]:
    """Return what is counted of a limit, by key."""
    call = "SELECT own.* FROM supervisor.limit_states AS own JOIN supervisor.limits AS known ON known.id = own.limit_id"
    return {row["key"]: row for row in await opened.fetch(f"{call} WHERE known.name = $1", name)}


async def usage(opened: Connection, name: str, key: str | None = None) -> list[Record]:
    """Return what is used of a limit."""
    return await opened.fetch("SELECT * FROM supervisor.limit_status($1, $2)", name, key)


async def why(opened: Connection, job: int) -> dict[str, Record]:
    """Return the reasons why a job does not run, by what they are."""
    return {row["what"]: row for row in await opened.fetch("SELECT * FROM supervisor.why($1)", job)}


async def audited(opened: Connection, scope: str) -> list[tuple[str, str, str]]:
    """Return the audit rows of a scope: what, its name, by whom."""
    call = "SELECT action_type, name, actor FROM supervisor.system_audit_log WHERE scope = $1 ORDER BY id"
    return [(row[0], row[1], row[2]) for row in await opened.fetch(call, scope)]
