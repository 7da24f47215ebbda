"""`enqueue`: put one job into the queue, or a whole file of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from supervisor.cli import times

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from supervisor.cli.enqueue_order import Order
    from supervisor.config import Config

_Text: TypeAlias = str | None


def enqueue(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The kind of job, as its handler is called.")],
    *,
    args: Annotated[_Text, typer.Option(metavar="JSON", help="The arguments of the job [{}].")] = None,
    file: Annotated[
        _Text, typer.Option(metavar="FILE", help="A job for each line: JSON, or an id; - is standard input.")
    ] = None,
    app: Annotated[_Text, typer.Option(metavar="MODULE:NAME", help="Check against the handlers of this app.")] = None,
    queue: Annotated[_Text, typer.Option(metavar="NAME", help="The queue [the kind's own].")] = None,
    priority: Annotated[int, typer.Option(metavar="NUMBER", help="The smaller, the sooner.")] = 0,
    delay: Annotated[_Text, typer.Option(metavar="SECONDS", help="Not before so long, as in 90s, 5m, 2h.")] = None,
    run_at: Annotated[
        _Text, typer.Option(metavar="TIME", help="Not before then, as in 2026-05-01T09:00:00+02:00.")
    ] = None,
    tenant: Annotated[_Text, typer.Option(metavar="NAME", help="Whose job it is.")] = None,
    key: Annotated[_Text, typer.Option(metavar="TEXT", help="Not while a job with this key is live.")] = None,
    max_attempts: Annotated[int | None, typer.Option(metavar="NUMBER", help="Runs that may fail [the kind's].")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job is over.")] = False,
    within: Annotated[_Text, typer.Option(metavar="SECONDS", help="With --wait: no longer than this.")] = None,
    again: Annotated[bool, typer.Option("--again", help="With --file: also if it was enqueued before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Put a job into the queue, or with --file many.

    Prints the id of the job. With --app (or `app` in the settings) the arguments are checked against the handler, and
    a line of a file may be a bare id: it becomes the arguments, or their only required field. Without, a line must be
    JSON. In a file, blank lines and those that begin with # are skipped; all lines are checked before the first is
    enqueued. Run it again after a crash: it goes on where it was, and no line is lost or doubled.

    Exit codes: 0 enqueued, with --wait completed; 1 not completed; 2 something is wrong with the command or the file;
    69 the database is out of reach; 78 something has to be put right first.
    """
    _check_together({"args": args, "key": key, "wait": wait or None}, file=file, again=again)
    if within is not None and not wait:
        raise typer.BadParameter("--within goes with --wait; to delay the job, give --delay")
    start, limit = _start(delay, run_at), None if within is None else times.duration(within)

    from supervisor.cli.enqueue_one import OneJob, args_text, enqueue_one
    from supervisor.cli.enqueue_order import Order, job_called, or_leave
    from supervisor.config import load
    from supervisor.jobs.enqueue_options import checked, checked_key, checked_kind

    checked_options = or_leave(
        lambda: checked(
            checked_kind(kind), queue=queue, priority=priority, run_at=start, tenant=tenant, max_attempts=max_attempts
        )
    )
    unique = None if key is None else or_leave(lambda: checked_key(kind, key))
    config = load(flags={"app": app})
    order = Order(kind, job_called(kind, config, app_named=app is not None), checked_options)
    if file is not None:
        _enqueue_file(config, order, file, again=again, as_json=as_json)
    else:
        enqueue_one(config, OneJob(order, args_text(order, args), unique, wait, limit), as_json=as_json)


def _check_together(for_one: Mapping[str, object], *, file: _Text, again: bool) -> None:
    """Refuse options of a single job beside a file, and the other way round."""
    if file is None and again:
        raise typer.BadParameter("--again goes with --file: a single job is enqueued each time")
    for name, given in for_one.items():
        if file is not None and given is not None:
            raise typer.BadParameter(f"--{name} is for a single job; it does not go with --file")


def _start(delay: _Text, run_at: _Text) -> datetime | float | None:
    if delay is not None and run_at is not None:
        raise typer.BadParameter("--delay and --run-at say the same; give one of them")
    if run_at is not None:
        return times.moment(run_at)
    return None if delay is None else times.duration(delay)


def _enqueue_file(config: Config, order: Order, path: str, *, again: bool, as_json: bool) -> None:
    from supervisor.cli.database_session import with_database
    from supervisor.cli.enqueue_file import FileOrder, enqueue_lines, opened, surveyed
    from supervisor.cli.enqueue_progress import progress
    from supervisor.cli.enqueue_report import leave_with_mistakes, show_totals

    with opened(path) as source:
        lines = FileOrder(order, source, again=again)
        with progress() as shown:
            found = surveyed(lines, shown)
            wrong = found.mistake_count > 0 or found.jobs == 0
            if not wrong:
                done = with_database(config, lambda session: enqueue_lines(session, lines, found, shown), create=True)
    if wrong:
        leave_with_mistakes(path, found, as_json=as_json)
    show_totals(found, done, as_json=as_json)
