"""Shows jobs as a table for people, or as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import times
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supervisor.store.job_listing import ListedJob

COLOURS: Final[Mapping[str, str]] = {
    "running": "green",
    "retry": "yellow",
    "blocked": "magenta",
    "completed": "bright_black",
    "failed": "red",
    "quarantined": "bright_red",
    "cancelled": "yellow",
    "discarded": "yellow",
}
"""By status."""

_COLUMNS: Final = (
    Column("id", right=True),
    Column("status"),
    Column("kind", least=8),
    Column("queue", least=7),
    Column("tenant", least=6),
    Column("tries", right=True),
    Column("when"),
    Column("note", least=8),
)


def show_table(jobs: Sequence[ListedJob], now: datetime, *, most: int) -> None:
    """Print the jobs, or that there are none; `most` is how many were asked for."""
    if not jobs:
        typer.echo("no jobs")
        return
    for line in table(_COLUMNS, [_row(job, now) for job in jobs], width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)
    if len(jobs) == most:
        typer.echo(f"the newest {most}; --limit shows more")


def show_list(jobs: Sequence[ListedJob]) -> None:
    """Print all there is, with absolute times."""
    show_json([_as_json(job) for job in jobs])


def _row(job: ListedJob, now: datetime) -> list[Cell | str]:
    return [
        str(job.id),
        Cell(job.status, COLOURS.get(job.status)),
        job.kind,
        job.queue,
        job.tenant or "",
        _tries(job),
        _when(job, now),
        _note(job),
    ]


def _tries(job: ListedJob) -> str:
    """Count the runs that failed, and the one that did not, or has not yet."""
    return f"{job.attempts + (job.status in {'running', 'completed'})}/{job.max_attempts}"


def _when(job: ListedJob, now: datetime) -> str:
    age = times.short((now - job.since).total_seconds())
    match job.status:
        case "running":
            return f"for {age}"
        case "pending" | "retry" | "blocked":
            return f"since {age}" if job.due_at is None else f"due {times.relative(job.due_at, now)}"
        case _:
            return f"{age} ago"


def _note(job: ListedJob) -> str:
    parts = [] if job.claimed_by is None or job.status != "running" else [f"worker {job.claimed_by}"]
    if job.reason not in {None, job.status, "future"}:
        parts.append(str(job.reason))
    if job.losses:
        parts.append(f"{job.losses} lost")
    if job.last_error and job.status != "completed":
        parts.append(job.last_error)
    return ", ".join(parts)


def _as_json(job: ListedJob) -> Mapping[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "queue": job.queue,
        "service": job.service,
        "tenant": job.tenant,
        "status": job.status,
        "reason": job.reason,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "losses": job.losses,
        "created_at": times.absolute(job.created_at),
        "since": times.absolute(job.since),
        "due_at": times.absolute(job.due_at),
        "claimed_by": job.claimed_by,
        "last_error": job.last_error,
    }
