"""Statements on the audit log: what was changed or refused, who did it and why, and whether the log is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from supervisor.store.link import Link

_COLUMNS: Final = (
    "id, action_type, scope, name, actor, reason, before, after, accepted, source, request_id, epoch, created_at, "
    "digest"
)
_JSON: Final = (6, 7)
_WRITE: Final = (
    "SELECT supervisor.write_audit($1, $2, $3, $4, $5, $6::text::jsonb, $7::text::jsonb, $8, $9, $10, $11::bigint)"
)
_LISTED: Final = (
    f"SELECT {_COLUMNS} FROM supervisor.system_audit_log WHERE ($1::bigint IS NULL OR id < $1) "  # noqa: S608 - constants
    "AND ($2::text IS NULL OR scope = $2) AND ($3::text IS NULL OR name = $3) AND ($4::text IS NULL OR actor = $4) "
    "AND ($5::boolean IS NULL OR accepted = $5) AND ($6::timestamptz IS NULL OR created_at >= $6) "
    "ORDER BY id DESC LIMIT $7"
)
_EXPORTED: Final = f"SELECT {_COLUMNS} FROM supervisor.system_audit_log WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608 - constants
_SINCE: Final = (
    f"SELECT {_COLUMNS} FROM supervisor.system_audit_log "  # noqa: S608 - constants
    "WHERE epoch > $1 AND epoch <= $2 AND accepted ORDER BY epoch DESC, id DESC LIMIT $3"
)
_VERIFY: Final = "SELECT checked, last_id, first_bad, problem FROM supervisor.audit_verify($1, $2)"
_HEAD: Final = "SELECT last, digest FROM supervisor.audit_head"
_DIGEST: Final = "SELECT digest FROM supervisor.system_audit_log WHERE id = $1"

STEP: Final = 5_000
"""Rows that one statement verifies."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row: `actor` did `action_type` to `name` of `scope` for `reason`, or tried to if it was not `accepted`.

    before, after: what was set, with since when, until when, by whom and why. source: the address it came from. epoch:
    of the control row after it. digest: of this row and all before it.
    """

    id: int
    action_type: str
    scope: str | None
    name: str | None
    actor: str
    reason: str | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    accepted: bool
    source: str | None
    request_id: str | None
    epoch: int | None
    created_at: datetime
    digest: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of the log at some time, written down elsewhere: it shows a log that was made anew as a whole."""

    id: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: `checked` rows in order, and the first that is not; `end` is to be written down."""

    checked: int
    first_bad: int | None
    problem: str | None
    end: Anchor

    @property
    def is_whole(self) -> bool:
        """Whether every row is as it was written, and none is missing."""
        return self.problem is None


async def write(  # noqa: PLR0913 - the columns of a row
    link: Link,
    action_type: str,
    *,
    actor: str,
    scope: str | None = None,
    name: str | None = None,
    reason: str | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    accepted: bool = True,
    source: str | None = None,
    request_id: str | None = None,
    epoch: int | None = None,
    within: float = USUAL,
) -> int:
    """Add a row and return its id; in a transaction, others wait for the log until that ends.

    With `accepted=False` it is an attempt that was refused. Texts that are too long are cut.
    """
    found = await link.fetchval(
        _WRITE,
        action_type,
        scope,
        name,
        actor,
        reason,
        None if before is None else json.dumps(dict(before)),
        None if after is None else json.dumps(dict(after)),
        accepted,
        source,
        request_id,
        epoch,
        within=within,
    )
    assert isinstance(found, int)  # noqa: S101 - for the type checker: the function returns a bigint
    return found


async def listed(  # noqa: PLR0913 - filters, all by keyword
    link: Link,
    most: int,
    *,
    before_id: int | None = None,
    scope: str | None = None,
    name: str | None = None,
    actor: str | None = None,
    accepted: bool | None = None,
    since: datetime | None = None,
    within: float = USUAL,
) -> list[AuditEntry]:
    """List the latest rows, the newest first; `before_id` goes on behind an earlier page."""
    rows = await link.fetch(_LISTED, before_id, scope, name, actor, accepted, since, most, within=within)
    return [_entry(row) for row in rows]


async def exported(link: Link, after_id: int, most: int, *, within: float = USUAL) -> list[AuditEntry]:
    """List rows in the order in which they were written, behind `after_id` (0: from the first)."""
    return [_entry(row) for row in await link.fetch(_EXPORTED, after_id, most, within=within)]


async def changes(link: Link, after_epoch: int, epoch: int, most: int, *, within: float = USUAL) -> list[AuditEntry]:
    """List the changes after one epoch, up to another, in order; of more than `most`, the latest."""
    rows = await link.fetch(_SINCE, after_epoch, epoch, most, within=within)
    return [_entry(row) for row in reversed(rows)]


async def verify(link: Link, *, anchor: Anchor | None = None, within: float = USUAL) -> Verdict:
    """Check the whole log, some thousand rows in each statement, for which `within` is.

    anchor: what an earlier verification gave; a log without that row, or with another digest in it, is not whole.
    """
    checked, following = 0, 1
    while True:
        row = await link.fetchrow(_VERIFY, following, STEP, within=within)
        assert row is not None  # noqa: S101 - for the type checker: the function returns one row
        checked += row["checked"]
        following = row["last_id"] + 1
        if row["problem"] is not None or row["checked"] < STEP:
            break
    head = await link.fetchrow(_HEAD, within=within)
    assert head is not None  # noqa: S101 - for the type checker: the table has one row
    first_bad, problem = row["first_bad"], row["problem"]
    if (
        problem is None
        and anchor is not None
        and await link.fetchval(_DIGEST, anchor.id, within=within) != anchor.digest
    ):
        first_bad, problem = anchor.id, f"row {anchor.id} is not the one that was noted: the log was made anew"
    return Verdict(checked, first_bad, problem, Anchor(head["last"], head["digest"]))


def _entry(row: Iterable[object]) -> AuditEntry:
    values = list(row)
    for place in _JSON:
        text = values[place]
        values[place] = json.loads(text) if isinstance(text, str) else None
    return AuditEntry(*values)  # type: ignore[arg-type]  # the columns of the table, each of its type
