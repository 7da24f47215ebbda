"""What a run asks before it writes, and after a commit whose answer was lost: is the job still mine, was it written?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.link import Link

_HOLD: Final = (
    "SELECT true FROM supervisor.jobs WHERE id = $1 AND lock_version = $2 AND claimed_by IS NOT NULL FOR UPDATE"
)
_WRITTEN: Final = (
    "SELECT past.job_id FROM supervisor.job_history AS past "
    "JOIN unnest($1::bigint[], $2::integer[]) AS run (id, lock_version) "
    "ON run.id = past.job_id AND run.lock_version = past.lock_version "
    "WHERE past.job_id = ANY ($1::bigint[])"
)


async def hold(link: Link, job: int, lock_version: int, *, within: float = USUAL) -> bool:
    """Lock a job for the rest of the transaction; False: the claim is no longer in force.

    Outside a transaction it waits until every other transaction that holds the job has ended.
    """
    return bool(await link.fetchval(_HOLD, job, lock_version, within=within))


async def written(link: Link, ids: Sequence[int], lock_versions: Sequence[int], *, within: float = USUAL) -> set[int]:
    """Return those jobs that ended under exactly this fence: only the run itself can have written that."""
    return {row[0] for row in await link.fetch(_WRITTEN, ids, lock_versions, within=within)}
