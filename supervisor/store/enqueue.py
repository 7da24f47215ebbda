"""Statements that put jobs in: on a link of ours, or on any connection that somebody else's transaction is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from supervisor.store.link import Link

# A kind that nobody offered gives no row, and not the function's error, which would end the caller's transaction.
# JSON goes as text: a connection that was taught to turn jsonb into objects would quote it again. What is due
# already is due now: behind what waits since before, where those who claim look next.
_DUE: Final = (
    "coalesce(CASE WHEN {at}::timestamptz > clock_timestamp() THEN {at}::timestamptz END, "
    "clock_timestamp() + make_interval(secs => {delay}::float8))"
)
# Nobody else moves the sequence in this session: what it gave last is the job's id, unless an older one stands for it.
_ONE: Final = f"""
SELECT made.id, $8::text IS NULL OR made.id = currval('supervisor.job_ids')
FROM supervisor.job_kinds AS known,
     LATERAL supervisor.enqueue(known.kind, $2::text::jsonb, $3, $4::integer, {_DUE.format(at="$5", delay="$6")}, $7,
                                $8::text, $9::integer, $10) AS made (id)
WHERE known.kind = $1
"""  # noqa: S608 - constants


def _each(place: int, kind: str) -> str:
    """Repeat a parameter for each job; a null stays one, which costs nothing."""
    value = f"${place}::{kind}"
    return f"CASE WHEN {value} IS NOT NULL THEN array_fill({value}, ARRAY[cardinality($2::text[])]) END"


_MANY: Final = f"""
SELECT made.id, made.created
FROM supervisor.job_kinds AS known,
     LATERAL supervisor.enqueue_many(
         array_fill(known.kind, ARRAY[cardinality($2::text[])]), $2::text[]::jsonb[], {_each(3, "text")},
         {_each(4, "smallint")},
         CASE WHEN coalesce($5::timestamptz, clock_timestamp()) > clock_timestamp() OR $6::float8 IS NOT NULL THEN
             array_fill({_DUE.format(at="$5", delay="$6")}, ARRAY[cardinality($2::text[])]) END,
         {_each(7, "text")}, $8::text[], {_each(9, "smallint")}, {_each(10, "text")}) AS made
WHERE known.kind = $1
"""  # noqa: S608 - constants


class Row(Protocol):
    """A row of a result."""

    def __getitem__(self, column: int, /) -> object:
        """Give the value of a column by its place."""


class Fetches(Protocol):
    """What these statements need of a connection."""

    async def fetch(self, query: str, /, *args: object) -> Sequence[Row]:
        """Run a query and return all rows."""


class OnLink:
    """A link whose every statement has the same number of seconds."""

    __slots__ = ("_link", "_within")

    def __init__(self, link: Link, within: float) -> None:
        self._link = link
        self._within = within

    async def fetch(self, query: str, /, *args: object) -> Sequence[Row]:
        """Run a query and return all rows."""
        return await self._link.fetch(query, *args, within=self._within)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What an enqueue says beside kind and arguments; None is the kind's default.

    run_at, or a delay in seconds more than 0, or neither: at once.
    """

    queue: str | None = None
    priority: int = 0
    run_at: datetime | None = None
    delay: float | None = None
    tenant: str | None = None
    max_attempts: int | None = None

    @property
    def is_immediate(self) -> bool:
        """Whether the job may run at once."""
        return self.run_at is None and self.delay is None


async def one(  # noqa: PLR0913, PLR0917 - what a job consists of
    on: Fetches, kind: str, args: str, options: JobOptions, unique_key: str | None, trace_parent: str | None
) -> tuple[int, bool] | None:
    """Put one job in; returns its id and whether it is new, None if nobody ever offered the kind."""
    rows = await on.fetch(_ONE, kind, args, *_given(options, unique_key, trace_parent))
    return (cast("int", rows[0][0]), cast("bool", rows[0][1])) if rows else None


async def many(  # noqa: PLR0913, PLR0917 - the same
    on: Fetches,
    kind: str,
    args: Sequence[str],
    options: JobOptions,
    unique_keys: Sequence[str] | None,
    trace_parent: str | None,
) -> list[tuple[int, bool]] | None:
    """Put jobs of one kind in, in one statement, at least one; returns as `one` does, for each."""
    rows = await on.fetch(_MANY, kind, args, *_given(options, unique_keys, trace_parent))
    return [(cast("int", row[0]), cast("bool", row[1])) for row in rows] if rows else None


def _given(options: JobOptions, keys: object, trace_parent: str | None) -> tuple[object, ...]:
    return (
        options.queue,
        options.priority,
        options.run_at,
        options.delay,
        options.tenant,
        keys,
        options.max_attempts,
        trace_parent,
    )
