"""Shows the numbers of queues, and the judgement on their health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import times
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, counted, plain, styled, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supervisor.jobs.queue_health import Facts, Finding, Judgement
    from supervisor.store.queues import KnownStats, QueueStats

# `blocked` and `lost` are left out where no queue has any, as is usual.
_COLUMNS: Final = (
    Column("queue", least=8),
    *(Column(title, right=True) for title in ("waiting", "active", "delayed", "retry", "blocked", "lost")),
    *(Column(title, right=True) for title in ("oldest", "done/h", "fail/h")),
)
_COLOURS: Final[Mapping[str, str]] = {"healthy": "green", "warning": "yellow", "critical": "red"}


def stats_lines(found: Sequence[QueueStats], *, width: int, colours: bool) -> list[str]:
    """Draw a line for each queue, and one for all if there are several."""
    if not found:
        return ["no queues: no worker has ever offered a job, and none is enqueued"]
    rows = [_row(row) for row in found]
    if len(found) > 1:
        rows.append(_row(_sum(found)))
    return table(_COLUMNS, rows, width=width, colours=colours)


def age_line(found: KnownStats) -> str:
    """Say how old the numbers are, and whether they were told from a part; nothing if they were counted just now."""
    if found.age is None:
        return ""
    part = f", told from {found.sampled:.1%} of the jobs" if found.sampled < 1 else ""
    return f"{measured(found.age)}{part}"


def measured(age: float) -> str:
    """Say when that was."""
    return f"measured {times.short(age)} ago"


def stats_document(found: Sequence[QueueStats]) -> list[Mapping[str, object]]:
    """Return the numbers for programs; seconds where the name ends in `_s`."""
    return [
        {
            "queue": row.queue,
            "waiting": row.ready,
            "active": row.running,
            "delayed": row.delayed,
            "retrying": row.retrying,
            "blocked": row.blocked,
            "suspects": row.suspects,
            "oldest_waiting_s": row.oldest_ready if row.ready else None,
            "completed_1h": row.completed_1h,
            "failed_1h": row.failed_1h,
        }
        for row in found
    ]


def show_health(judgement: Judgement, facts: Facts, now: datetime, *, as_json: bool) -> None:
    """Print the judgement with its reasons and advice."""
    level = str(judgement.level)
    if as_json:
        show_json(
            {
                "at": times.absolute(now),
                "health": level,
                "findings": [_finding(finding) for finding in judgement.findings],
                "live_workers": sum(worker.lease_left > 0 for worker in facts.workers),
                "age_s": facts.age,
                "queues": stats_document(facts.queues),
            }
        )
        return
    colours = colours_wanted()
    waiting, active = sum(row.ready for row in facts.queues), sum(row.running for row in facts.queues)
    alive = sum(worker.lease_left > 0 for worker in facts.workers)
    age = "" if facts.age is None else f" ({measured(facts.age)})"
    summary = f"{counted(waiting, 'job')} waiting, {active} active{age}, {counted(alive, 'live worker')}"
    typer.echo(f"{styled(level, _COLOURS[level], colours=colours)}: {summary}")
    for finding in judgement.findings:
        name = str(finding.level)
        where = "" if finding.queue is None else f"queue {plain(finding.queue)}: "
        typer.echo(f"{styled(name, _COLOURS[name], colours=colours)}: {where}{plain(finding.problem)}")
        typer.echo(f"  advice: {finding.advice}")


def _finding(finding: Finding) -> Mapping[str, object]:
    return {
        "level": str(finding.level),
        "check": finding.check,
        "queue": finding.queue,
        "problem": finding.problem,
        "advice": finding.advice,
    }


def _row(row: QueueStats) -> list[Cell | str]:
    return [
        row.queue,
        str(row.ready),
        Cell(str(row.running), "green" if row.running else None),
        str(row.delayed),
        str(row.retrying),
        *(Cell(str(count or ""), "magenta") for count in (row.blocked, row.suspects)),
        times.short(row.oldest_ready or 0.0) if row.ready else "",
        str(row.completed_1h),
        Cell(str(row.failed_1h), "red" if row.failed_1h else None),
    ]


def _sum(found: Sequence[QueueStats]) -> QueueStats:
    ages = [row.oldest_ready for row in found if row.oldest_ready is not None]
    return found[0]._replace(
        queue="(all)",
        ready=sum(row.ready for row in found),
        running=sum(row.running for row in found),
        delayed=sum(row.delayed for row in found),
        retrying=sum(row.retrying for row in found),
        blocked=sum(row.blocked for row in found),
        suspects=sum(row.suspects for row in found),
        oldest_ready=max(ages, default=None),
        completed_1h=sum(row.completed_1h for row in found),
        failed_1h=sum(row.failed_1h for row in found),
    )
