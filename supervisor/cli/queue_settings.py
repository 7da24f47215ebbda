"""`queue set` and `queue slow`: how much a queue takes, when old jobs rise, and which runs take too long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from supervisor.cli import times
from supervisor.cli.change_options import DryRun, Json, Reason, checked_name, terms
from supervisor.cli.help_page import Command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from supervisor.cli.change_options import Terms
    from supervisor.cli.database_session import DatabaseSession
    from supervisor.store.figures import SlowJob
    from supervisor.store.queue_settings import QueueChange, QueueSettings

_Text: TypeAlias = str | None
_NONE = "none"
_MOST = 1000


def add_settings(group: typer.Typer) -> None:
    """Add the commands to the group `queue`."""
    group.command("set", cls=Command)(set_queue)
    group.command("slow", cls=Command)(slow)


def set_queue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, as jobs carry it.")],
    *,
    max_depth: Annotated[_Text, typer.Option(metavar="JOBS|none", help="Take no more with so many waiting.")] = None,
    escalate_after: Annotated[
        _Text, typer.Option(metavar="TIME|none", help="Raise jobs that could run for so long and did not.")
    ] = None,
    escalate_by: Annotated[int | None, typer.Option(metavar="STEP", min=1, max=32767, help="By so much [1].")] = None,
    escalate_to: Annotated[
        int | None, typer.Option(metavar="PRIORITY", min=-32768, max=32767, help="But not above this [0].")
    ] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Say how many jobs may wait in a queue, and when old ones rise.

    What is not given stays as it is; `none` takes back what was set. An enqueue beyond the depth fails, and is told
    when to come back. A job rises by a step each time it has waited for so long again; a smaller number is a better
    priority.
    """
    checked_name(name, "queue")
    given = {
        "max_depth": None if max_depth is None else _depth(max_depth),
        "escalate_after": None if escalate_after is None else _after(escalate_after),
        "escalate_by": None if escalate_by is None else (escalate_by,),
        "escalate_to": None if escalate_to is None else (escalate_to,),
    }
    wanted = {field: found[0] for field, found in given.items() if found is not None}
    if not wanted:
        raise typer.BadParameter("say what is to be set: --max-depth, --escalate-after, --escalate-by or --escalate-to")
    agreed = terms(reason=reason, dry_run=dry_run, as_json=as_json)
    from supervisor.cli.database_session import with_database
    from supervisor.config import load

    async def work(session: DatabaseSession) -> tuple[QueueSettings, QueueChange]:
        return await _set(session, name, wanted, agreed)

    settings, change = with_database(load(), work)
    _show_change(settings, change, agreed)


def slow(*, as_json: Json = False) -> None:
    """List the jobs that run for much longer than others of their kind."""
    from supervisor.cli.database_session import with_database
    from supervisor.cli.json_answer import show_json
    from supervisor.config import load

    found, now = with_database(load(), _slow)
    if as_json:
        show_json({"at": times.absolute(now), "jobs": [_document(job) for job in found]})
        return
    from supervisor.cli.text_table import Column, colours_wanted, table, terminal_width

    if not found:
        typer.echo("no job runs for longer than usual")
        return
    columns = (
        Column("job", right=True),
        *(Column(title, least=8) for title in ("kind", "queue")),
        *(Column(title, right=True) for title in ("worker", "running", "usual")),
    )
    rows = [
        [str(job.id), job.kind, job.queue, str(job.worker), times.short(job.running), times.short(job.expected)]
        for job in found
    ]
    for line in table(columns, rows, width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)


def _depth(text: str) -> tuple[int | None]:
    if text == _NONE:
        return (None,)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 63:
        raise typer.BadParameter(
            f"{text!r} is no number of jobs: give one from 1 on, or none", param_hint="--max-depth"
        )
    return (int(text),)


def _after(text: str) -> tuple[float | None]:
    if text == _NONE:
        return (None,)
    try:
        seconds = times.duration(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}, or none", param_hint="--escalate-after") from None
    if seconds < 1:
        raise typer.BadParameter(f"{text!r} is less than a second", param_hint="--escalate-after")
    return (seconds,)


async def _set(
    session: DatabaseSession, name: str, wanted: dict[str, int | float | None], agreed: Terms
) -> tuple[QueueSettings, QueueChange]:
    from supervisor.cli import person
    from supervisor.cli.control_change import stop_for
    from supervisor.errors import DatabaseUnavailable, StatementRefused
    from supervisor.store import queue_settings
    from supervisor.store.queue_settings import QueueSettings

    known = {each.queue: each for each in await queue_settings.read(session.link)}
    settings = replace(known.get(name, QueueSettings(queue=name)), **wanted)  # type: ignore[arg-type]  # each has its own
    try:
        made = await queue_settings.change(
            session.link,
            settings,
            actor=person.actor(),
            reason=agreed.reason,
            source=person.source(),
            dry_run=agreed.dry_run,
        )
    except (StatementRefused, DatabaseUnavailable) as error:
        stop_for(error)
        raise
    return settings, made


def _show_change(settings: QueueSettings, change: QueueChange, agreed: Terms) -> None:
    if agreed.as_json:
        from supervisor.cli.json_answer import show_json

        show_json(
            {
                "queue": settings.queue,
                "changed": change.changed,
                "dry_run": agreed.dry_run,
                "before": change.before,
                "after": change.after,
            }
        )
        return
    state = "it is so already" if not change.changed else "it would be so" if agreed.dry_run else "it is so now"
    typer.echo(f"queue {settings.queue}: {state}")
    depth, after = settings.max_depth, settings.escalate_after
    typer.echo("  takes any number of jobs" if depth is None else f"  takes no more with {depth} jobs waiting")
    if after is None:
        typer.echo("  no job rises")
    else:
        step = f"by {settings.escalate_by}, not above priority {settings.escalate_to}"
        typer.echo(f"  a job that waits for {times.short(after)} rises {step}")


async def _slow(session: DatabaseSession) -> tuple[Sequence[SlowJob], datetime]:
    from supervisor.store import figures, job_listing

    return await figures.slow_jobs(session.link, _MOST), await job_listing.now(session.link)


def _document(job: SlowJob) -> dict[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "queue": job.queue,
        "worker": job.worker,
        "since": times.absolute(job.since),
        "running_s": job.running,
        "expected_s": job.expected,
    }
