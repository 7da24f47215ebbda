"""Says what is wrong with a file of jobs, or what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import typer

from supervisor.cli import times
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import counted
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from supervisor.cli.enqueue_file import Enqueued
    from supervisor.jobs.args_file import Survey


def leave_with_mistakes(path: str, found: Survey, *, as_json: bool) -> NoReturn:
    """List the mistakes of a file of which nothing was enqueued."""
    name = "standard input" if path == "-" else path
    if as_json:
        mistakes = [
            {"line": each.line, "field": each.field, "reason": each.reason, "remedy": each.remedy}
            for each in found.mistakes
        ]
        show_json({"lines": found.lines, "enqueued": 0, "mistake_count": found.mistake_count, "mistakes": mistakes})
    elif not found.mistakes:
        typer.echo(
            f"supervisor: {name} has no job in it, only {counted(found.skipped, 'line')} blank or comments", err=True
        )
    else:
        typer.echo(f"supervisor: {name} has {counted(found.mistake_count, 'mistake')}; nothing was enqueued:", err=True)
        for each in found.mistakes:
            typer.echo(f"  {each}", err=True)
        if (rest := found.mistake_count - len(found.mistakes)) > 0:
            typer.echo(f"  and {rest} more", err=True)
    raise typer.Exit(ExitCode.USAGE)


def show_totals(found: Survey, done: Enqueued, *, as_json: bool) -> None:
    """Say what became of a file."""
    if as_json:
        show_json(
            {
                "lines": found.lines,
                "skipped": found.skipped,
                "jobs": done.jobs,
                "enqueued": done.enqueued,
                "enqueued_before": done.before,
                "seconds": round(done.seconds, 3),
                "per_second": round(done.per_second, 1),
                "batch": done.batch,
                "already_enqueued_at": times.absolute(done.finished_at),
            }
        )
        return
    typer.echo(f"read {counted(found.lines, 'line')}: {counted(found.jobs, 'job')}, {found.skipped} blank or comments")
    if done.finished_at is not None:
        typer.echo(f"already enqueued at {done.finished_at:%Y-%m-%d %H:%M:%S} UTC; --again enqueues it once more")
        return
    if done.before:
        typer.echo(f"{done.before} were enqueued before")
    typer.echo(f"enqueued {done.enqueued} in {times.short(done.seconds)} ({done.per_second:.0f} per second)")
