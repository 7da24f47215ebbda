"""Statements on the steps of jobs: their recorded results, and how far a job is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from supervisor.store.link import Link

# The results as texts: a connection that was taught to turn jsonb into objects would quote them again.
_RECORD: Final = "SELECT id, name FROM supervisor.record_steps($1, $2, $3, $4, $5::text[]::jsonb[], $6)"
_OF: Final = "SELECT name, place, done, result::text, lock_version, recorded_at FROM supervisor.steps_of($1)"


class NewStep(NamedTuple):
    """A step to record. `result` is JSON; `done` is false for the intent of a step that must run at most once."""

    job: int
    lock_version: int
    name: str
    place: int
    result: str | None
    done: bool = True


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step as it was recorded; `place` counts the steps of the job."""

    name: str
    place: int
    done: bool
    result: str | None
    lock_version: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `done` of `total`, if that is known."""

    job: int
    lock_version: int
    done: int
    total: int | None = None


async def record(link: Link, rows: Iterable[NewStep], *, within: float = USUAL) -> set[tuple[int, str]]:
    """Record steps; returns job and name of those for which the fence held.

    Raises StatementRefused with SQLSTATE SV002 if one is recorded as done already.
    """
    columns = list(zip(*rows, strict=True))
    if not columns:
        return set()
    return {(row[0], row[1]) for row in await link.fetch(_RECORD, *columns, within=within)}


async def of(link: Link, job: int, *, within: float = USUAL) -> list[RecordedStep]:
    """List the recorded steps of a job by their places."""
    return [RecordedStep(*row) for row in await link.fetch(_OF, job, within=within)]


async def report_progress(link: Link, rows: Iterable[Progress], *, within: float = USUAL) -> set[int]:
    """Write how far jobs are; returns those for which the fence held."""
    columns = [(row.job, row.lock_version, row.done, row.total) for row in rows]
    if not columns:
        return set()
    sql = "SELECT supervisor.report_progress($1, $2, $3, $4)"
    return {row[0] for row in await link.fetch(sql, *map(list, zip(*columns, strict=True)), within=within)}


async def resolve(  # noqa: PLR0913 - all but three by keyword
    link: Link, job: int, step: str, *, result: str | None = None, again: bool = False, within: float = USUAL
) -> bool:
    """Say what became of a step that may or may not have run, so that its job goes on; False: nothing waits for it.

    `again`: it did not run, and shall. Otherwise it did, and `result` (JSON) is its result.
    """
    sql = "SELECT supervisor.resolve_step($1, $2, $3::text::jsonb, $4)"
    return bool(await link.fetchval(sql, job, step, result, again, within=within))
