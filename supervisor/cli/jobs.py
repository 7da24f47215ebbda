"""`jobs`: look at jobs, and change what becomes of them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, get_args

import typer

from supervisor.cli import times
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.help_page import Command, Group

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.cli.job_changes import Recovered
    from supervisor.cli.job_page import JobPage
    from supervisor.store.job_listing import ListedJob
    from supervisor.store.job_rows import CancelledJob, JobStatus, RetriedJob
    from supervisor.store.link import Link

_Text: TypeAlias = str | None
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
_Ids: TypeAlias = Annotated[list[int], typer.Argument(metavar="ID...", help="The jobs.", show_default=False)]
_Kind: TypeAlias = Annotated[_Text, typer.Option(metavar="KIND", help="Only jobs of this kind.")]
_Since: TypeAlias = Annotated[
    _Text, typer.Option(metavar="TIME", help="Only those since then: 90s, 2h, 7d, or a time as in 2026-05-01T09:00Z.")
]

NOT_DONE: Final = 1
"""The exit code when the database answered, and not everything could be done."""

jobs = typer.Typer(cls=Group, rich_markup_mode=None, no_args_is_help=True, help="Look at jobs, or change them.")


@jobs.command("list", cls=Command)
def list_jobs(
    *,
    status: Annotated[_Text, typer.Option(metavar="A,B", help="Only jobs in these states.")] = None,
    queue: Annotated[_Text, typer.Option(metavar="NAME", help="Only jobs of this queue.")] = None,
    kind: _Kind = None,
    tenant: Annotated[_Text, typer.Option(metavar="NAME", help="Only jobs of this tenant.")] = None,
    since: _Since = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=100_000, help="How many at most.")] = 20,
    as_json: _Json = False,
) -> None:
    """List jobs, the latest news first.

    The states are pending, running, retry, blocked, completed, failed, cancelled, quarantined and discarded.
    """
    from supervisor.config import load
    from supervisor.store import job_listing

    states = _states(status)
    start = None if since is None else times.moment_or_age(since)

    async def work(session: DatabaseSession) -> tuple[list[ListedJob], datetime]:
        now = await job_listing.now(session.link)
        wanted = job_listing.JobFilter(
            statuses=states, queue=queue, kind=kind, tenant=tenant, since=_moment(start, now)
        )
        return await job_listing.listed(session.link, wanted, limit), now

    found, now = with_database(load(), work)
    from supervisor.cli.job_table import show_list, show_table

    if as_json:
        show_list(found)
    else:
        show_table(found, now, most=limit)


@jobs.command(cls=Command)
def show(
    job: Annotated[int, typer.Argument(metavar="ID", help="The job.")],
    *,
    as_json: _Json = False,
) -> None:
    """Show everything about one job.

    Its arguments, errors, progress and steps, and how each of its lives ended.
    """
    from supervisor.cli.job_page import read_page, show_document, show_page
    from supervisor.config import load

    async def work(session: DatabaseSession) -> JobPage | None:
        return await read_page(session.link, job)

    page = with_database(load(), work)
    if page is None:
        leave(NOT_DONE, f"there is no job {job}, neither live nor in the history")
    if as_json:
        show_document(page)
    else:
        show_page(page)


@jobs.command(cls=Command)
def why(
    job: Annotated[int, typer.Argument(metavar="ID", help="The job.")],
    *,
    as_json: _Json = False,
) -> None:
    """Say why a job does not run.

    Each switch, limit, time or lack of a worker that stands against it, and until when if that is known.
    """
    from supervisor.cli.why_view import show_why

    show_why(job, as_json=as_json)


@jobs.command(cls=Command)
def retry(
    ids: _Ids = [],  # noqa: B006 - typer makes a new one
    *,
    failed: Annotated[bool, typer.Option("--failed", help="All jobs that failed, instead of some.")] = False,
    kind: _Kind = None,
    since: _Since = None,
    as_json: _Json = False,
) -> None:
    """Run jobs again that are over.

    They get all their attempts anew, and steps that are done stay done. A job that waits for its next
    attempt is tried at once. Exit code 1: some of them stay as they are.
    """
    from supervisor.cli import job_changes
    from supervisor.config import load
    from supervisor.store import job_listing

    if failed == bool(ids):
        raise typer.BadParameter("say which: either some ids, or --failed")
    if not failed and (kind is not None or since is not None):
        raise typer.BadParameter("--kind and --since go with --failed")
    start = None if since is None else times.moment_or_age(since)

    async def work(session: DatabaseSession) -> list[RetriedJob]:
        if not failed:
            return await job_changes.retry(session.link, ids)
        moment = _moment(start, await job_listing.now(session.link))
        return await job_changes.retry_failed(session.link, kind=kind, since=moment)

    found = with_database(load(), work)
    if not job_changes.show_retried(found, each=not failed, as_json=as_json) and not failed:
        raise typer.Exit(NOT_DONE)


@jobs.command(cls=Command)
def cancel(
    ids: _Ids,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept with the job.")] = "cancelled by hand",
    as_json: _Json = False,
) -> None:
    """Cancel jobs that wait or run.

    One that runs is stopped at once. Exit code 1: some of them were not live.
    """
    from supervisor.cli import job_changes
    from supervisor.config import load

    async def work(session: DatabaseSession) -> dict[int, CancelledJob | None]:
        return await job_changes.cancel(session.link, ids, reason)

    if not job_changes.show_cancelled(with_database(load(), work), as_json=as_json):
        raise typer.Exit(NOT_DONE)


@jobs.command(cls=Command)
def recover_expired_locks(*, as_json: _Json = False) -> None:
    """Free the jobs of dead workers at once.

    That is, of those that are silent beyond their lease, and of those that live but have jobs past their deadline.
    Every worker does this by itself, every few seconds.
    """
    from supervisor.cli import job_changes
    from supervisor.config import load

    config = load()

    async def work(session: DatabaseSession) -> list[Recovered]:
        return await job_changes.recover(session.link, config.max_losses)

    job_changes.show_recovered(with_database(config, work), as_json=as_json)


@jobs.command(cls=Command)
def resolve(
    job: Annotated[int, typer.Argument(metavar="ID", help="The job.")],
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step, as its handler calls it.")],
    *,
    done: Annotated[_Text, typer.Option(metavar="JSON", help="It did happen, and this is its result.")] = None,
    again: Annotated[bool, typer.Option("--again", help="It did not happen, and shall.")] = False,
    as_json: _Json = False,
) -> None:
    """Say what became of an at_most_once step.

    Its run was cut off, and its job waits for this answer to go on. Look where the step has its
    effect first: nobody else knows. Exit code 1: no such step waits for an answer.
    """
    from supervisor.cli.json_answer import show_json
    from supervisor.config import load
    from supervisor.store import steps

    if again == (done is not None):
        raise typer.BadParameter("say what became of it: either --done with its result (null is one), or --again")
    if done is not None:
        _check_json(done)

    async def work(session: DatabaseSession) -> str | None:
        if await steps.resolve(session.link, job, step, result=done, again=again):
            return None
        return await _unresolved(session.link, job)

    problem = with_database(load(), work)
    if as_json:
        show_json({"job": job, "step": step, "resolved": problem is None})
    if problem is not None:
        leave(NOT_DONE, f"job {job} has no step {step!r} that waits for an answer; {problem}")
    if not as_json:
        typer.echo(f"job {job} goes on: step {step} " + ("runs again" if again else "counts as done"))


async def _unresolved(link: Link, job: int) -> str:
    from supervisor.store import steps

    names = [step.name for step in await steps.of(link, job) if not step.done]
    return f"these do: {', '.join(names)}" if names else f"see: python -m supervisor jobs show {job}"


def _check_json(text: str) -> None:
    import orjson

    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}", param_hint="--done") from None


def _states(given: _Text) -> frozenset[JobStatus] | None:
    from supervisor.store.job_rows import JobStatus

    if given is None:
        return None
    known: tuple[JobStatus, ...] = get_args(JobStatus)
    for name in (name.strip() for name in given.split(",")):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"the states are {', '.join(known)}"
            raise typer.BadParameter(f"{name!r} is no state of a job; {meant}", param_hint="--status")
    names = {name.strip() for name in given.split(",")}
    return frozenset(state for state in known if state in names)


def _moment(start: datetime | float | None, now: datetime) -> datetime | None:
    from datetime import timedelta

    return now - timedelta(seconds=start) if isinstance(start, float | int) else start
