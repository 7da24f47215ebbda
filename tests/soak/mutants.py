"""Bugs for the checkers to find: one small change each to a function of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from tests.store.postgres import LIMIT

_SOURCES: Final = """
    SELECT pg_get_functiondef(function.oid) FROM pg_proc AS function
    WHERE function.pronamespace = 'supervisor'::regnamespace AND function.proname = $1
"""


@dataclass(frozen=True, slots=True)
class Mutant:
    """In a function, every `old` becomes `new`, and so for what is in `more`."""

    name: str
    function: str
    old: str
    new: str
    more: tuple[tuple[str, str], ...] = ()


STALE: Final = (
    Mutant("an end without a fence", "take_claimed", "claim.lock_version", "job.lock_version"),
    Mutant("an end of what nobody has", "take_claimed", "AND job.claimed_by IS NOT NULL", ""),
    Mutant("hand_back without a fence", "hand_back", "AND job.lock_version = ended.lock_version", ""),
    Mutant("hand_back leaves the fence", "hand_back", "lock_version = job.lock_version + 1,", ""),
    Mutant("hand_back parks under the old fence", "hand_back", "parked.lock_version + 1", "parked.lock_version"),
    Mutant("release leaves the fence", "release_lost", "lock_version = job.lock_version + 1,", ""),
    Mutant("promote forgets the fence", "promote", "due.lock_version", "0"),
    Mutant("cancel leaves the fence", "cancel_jobs", "job.lock_version + 1", "job.lock_version"),
    Mutant(
        *("a step without a fence", "record_steps", "run.lock_version FROM", "job.lock_version FROM"),
        more=(("AND held.lock_version = item.lock_version", ""),),
    ),
    Mutant(
        "an extension without a fence", "extend_deadline", "AND job.lock_version = extend_deadline.lock_version", ""
    ),
    Mutant("progress without a fence", "report_progress", "job.lock_version = item.lock_version AND", ""),
    Mutant("held whatever the fence", "still_held", "job.lock_version = claim.lock_version AND", ""),
    Mutant("a claim without a lease", "open_claim", "IF NOT FOUND THEN", "IF false THEN"),
    Mutant("a heartbeat wakes the dead", "heartbeat", "AND own.status IN ('STARTING', 'RUNNING', 'STOPPING')", ""),
)
"""Found by the campaign of stale writes."""

CLAIM: Final = (
    Mutant("a claim of what is claimed", "claim", "AND free.claimed_by IS NULL", ""),
    Mutant("a claim that leaves the fence", "claim", "lock_version = job.lock_version + 1,", ""),
)
"""Found by processes that claim at the same time."""

KEYS: Final = (
    Mutant("a key for the latest", "enqueue", "touched_at = clock_timestamp()", "job_id = excluded.job_id"),
    Mutant("keys for the latest", "enqueue_many", "touched_at = clock_timestamp()", "job_id = excluded.job_id"),
)
"""Found by the client's journal."""

RUNS: Final = (
    Mutant("an interruption costs an attempt", "hand_back", "ended.reason = 'retry' THEN 1", "true THEN 1"),
    Mutant("everybody is lost", "find_lost", "late.lease_expires_at <= clock_timestamp()", "true"),
    Mutant("steps are forgotten", "steps_of", "WHERE step.job_id = job", "WHERE false"),
    Mutant("a release lets go of nothing", "release_lost", "LIMIT greatest(coalesce(most, 0), 0)", "LIMIT 0"),
    Mutant(
        "a job ends without a trace",
        "complete",
        "lock_versions) AS done",
        "lock_versions) AS done WHERE done.id % 4 > 0",
    ),
)
"""Found by whole workers that are stopped and killed."""


async def mutate(dsn: str, mutant: Mutant) -> None:
    """Put the bug into a database. Raises AssertionError if there is nothing to change."""
    connection = await asyncpg.connect(dsn, timeout=LIMIT)
    try:
        sources = [row[0] for row in await connection.fetch(_SOURCES, mutant.function, timeout=LIMIT)]
        for old, new in ((mutant.old, mutant.new), *mutant.more):
            assert any(old in source for source in sources), f"{mutant.function} has no {old!r}"
            sources = [source.replace(old, new) for source in sources]
        for source in sources:
            await connection.execute(source, timeout=LIMIT)
    finally:
        await connection.close(timeout=LIMIT)
