"""Statements on the kinds of jobs that workers have offered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.store.link import Link

_OFFER: Final = "SELECT supervisor.offer_kinds($1, $2, $3, $4, $5, $6, $7, $8)"
_ALL: Final = (
    "SELECT kind, queue, service, max_attempts, timeout_s, changes, essential FROM supervisor.job_kinds ORDER BY kind"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of job is unless its enqueue says otherwise; `timeout` is in seconds."""

    kind: str
    queue: str
    service: str
    max_attempts: int
    timeout: float
    changes: bool
    essential: bool


async def offer(link: Link, kinds: Iterable[Kind], *, replace: bool, within: float = USUAL) -> int:
    """Write kinds, without `replace` only those that are missing; returns how many were written."""
    columns = [
        (row.kind, row.queue, row.service, row.max_attempts, row.timeout, row.changes, row.essential) for row in kinds
    ]
    if not columns:
        return 0
    return cast("int", await link.fetchval(_OFFER, *map(list, zip(*columns, strict=True)), replace, within=within))


async def listed(link: Link, *, within: float = USUAL) -> list[Kind]:
    """List all kinds that were ever offered, by name."""
    return [Kind(*row) for row in await link.fetch(_ALL, within=within)]
