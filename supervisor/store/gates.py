"""The claim of jobs that need permits of limits to start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import CLAIMED_COLUMNS, USUAL, ClaimedJob
from supervisor.store.limit_rows import GatedClaim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.link import Link

_CLAIM: Final = f"SELECT {CLAIMED_COLUMNS}, line, wait_s FROM supervisor.claim_gated($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
_LINE: Final = 16
_WAIT: Final = 17


async def claim_gated(  # noqa: PLR0913, PLR0917 - the claim's own parameters
    link: Link,
    worker: int,
    queue: str,
    kinds: Sequence[str],
    most: int,
    after_line: str | None = None,
    *,
    least_losses: int = 0,
    most_losses: int = 0,
    within: float = USUAL,
) -> GatedClaim:
    """Claim up to `most` jobs of a queue that wait behind a gate, where the limits permit it, taking their permits.

    They come from some lines behind `after_line`, some of each, so that no line waits for another. Raises as `claim`.
    """
    rows = await link.fetch_as(
        ClaimedJob, _CLAIM, worker, queue, kinds, most, after_line, least_losses, most_losses, within=within
    )
    last = rows.pop()  # says where to go on
    return GatedClaim(rows, last[_LINE], last[_WAIT])
