"""What is set for a queue: how many jobs may wait in it, and when old ones rise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from supervisor.store.link import Link

_SET: Final = """
    SELECT changed, before::text, after::text
    FROM supervisor.set_queue($1, $2, $3, $4::smallint, $5::smallint, $6, $7, $8, $9, $10)
"""
_READ: Final = """
    SELECT queue, max_depth, escalate_after_s AS escalate_after, escalate_by, escalate_to
    FROM supervisor.queue_settings ORDER BY queue
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """One queue. With `max_depth` jobs waiting it takes no more; None: there is no limit.

    A job that could run for `escalate_after` seconds and did not rises by `escalate_by`, again and again, but not above
    the priority `escalate_to`; None: none rises.
    """

    queue: str
    max_depth: int | None = None
    escalate_after: float | None = None
    escalate_by: int = 1
    escalate_to: int = 0


@dataclass(frozen=True, slots=True)
class QueueChange:
    """What a change of these settings did; `before` and `after` are as in the audit log, None where nothing is set."""

    changed: bool
    before: dict[str, object] | None
    after: dict[str, object] | None


async def change(  # noqa: PLR0913 - who, why and from where
    link: Link,
    settings: QueueSettings,
    *,
    actor: str,
    reason: str,
    source: str | None = None,
    request_id: str | None = None,
    dry_run: bool = False,
    within: float = USUAL,
) -> QueueChange:
    """Set all that holds for a queue; it is in the audit log. Raises StatementRefused for what cannot be set."""
    row = await link.fetchrow(
        _SET,
        settings.queue,
        settings.max_depth,
        settings.escalate_after,
        settings.escalate_by,
        settings.escalate_to,
        actor,
        reason,
        source,
        request_id,
        dry_run,
        within=within,
    )
    if row is None:
        raise AssertionError("set_queue gives one row")
    return QueueChange(row[0], _document(row[1]), _document(row[2]))


async def read(link: Link, *, within: float = USUAL) -> list[QueueSettings]:
    """List the queues for which something is set."""
    return [QueueSettings(**dict(row)) for row in await link.fetch(_READ, within=within)]


def _document(text: str | None) -> dict[str, object] | None:
    return None if text is None else dict(json.loads(text))
