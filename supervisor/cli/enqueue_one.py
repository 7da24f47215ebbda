"""Enqueues a single job, and waits for its end if that is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from supervisor.cli import times
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.enqueue_order import make_known, or_leave
from supervisor.cli.enqueue_wait import ended, final_line
from supervisor.cli.json_answer import show_json
from supervisor.errors import DatabaseUnavailable, EnqueueRefused, InvalidPayload
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.cli.enqueue_order import Order
    from supervisor.config import Config
    from supervisor.store.job_rows import JobView

NOT_COMPLETED: Final = 1
"""The exit code of `--wait` for a job that has not completed."""


@dataclass(frozen=True, slots=True)
class OneJob:
    """A job as it goes into the database. `args` is JSON; `wait` says whether to wait, at most `within` seconds."""

    order: Order
    args: str
    key: str | None
    wait: bool
    within: float | None


def args_text(order: Order, given: str | None) -> str:
    """Check the arguments as far as their type is known, and write them as they are stored."""
    text = "{}" if given is None else given.strip()
    if not text:
        raise typer.BadParameter("is empty; leave it out for a job without arguments", param_hint="--args")
    if order.job is not None:
        return or_leave(lambda: order.reader.check(order.reader.read(text)))
    from supervisor.jobs.payload import Payload

    payload: Payload[Any] = Payload(order.kind, Any)
    try:
        args = payload.decode(text)
    except InvalidPayload as error:
        raise typer.BadParameter(
            f"is not JSON: {error.reason}; quote it for the shell, as in '{{\"user_id\": 7}}'", param_hint="--args"
        ) from None
    return or_leave(lambda: payload.encode(args))


def enqueue_one(config: Config, one: OneJob, *, as_json: bool) -> None:
    """Do it, print the id, and leave with the exit code."""

    async def work(session: DatabaseSession) -> JobView | None:
        job, created = await _put(session, one)
        if not as_json:
            _show_id(job, created=created)
        found = await _wait(session, job, one.within) if one.wait else None
        if as_json:
            show_json({"id": job, "created": created, **(_as_json(found) if one.wait else {})})
        return found

    found = with_database(config, work, create=True)
    if one.wait:
        _leave_after(found, one.within)


async def _put(session: DatabaseSession, one: OneJob) -> tuple[int, bool]:
    from supervisor.store import enqueue

    await make_known(session.link, one.order)
    try:
        found = await enqueue.one(session.link, one.order.kind, one.args, one.order.options, one.key, None)
    except DatabaseUnavailable as error:
        if not error.unknown:
            raise
        remedy = "look with `jobs list`; with --key, the command can be repeated without harm"
        leave(ExitCode.NO_START, f"{error}\n  the job may be enqueued or not\n  remedy: {remedy}")
    if found is None:
        raise EnqueueRefused(f"kind {one.order.kind!r}: no worker has ever offered such jobs")
    return found


async def _wait(session: DatabaseSession, job: int, within: float | None) -> JobView | None:
    from supervisor.store import job_views

    return await ended(lambda: job_views.show(session.link, job), within, lambda line: typer.echo(line, err=True))


def _show_id(job: int, *, created: bool) -> None:
    typer.echo(job)
    if not created:
        typer.echo(f"job {job} has the same key and is not over yet; nothing was enqueued", err=True)


def _leave_after(job: JobView | None, within: float | None) -> None:
    if job is None:
        leave(NOT_COMPLETED, "the job is gone, and so is its history")
    if not job.is_final:
        leave(
            NOT_COMPLETED,
            f"job {job.id} is {job.status} after {times.short(within or 0.0)}; it goes on without this command\n"
            f"  see: python -m supervisor jobs show {job.id}",
        )
    typer.echo(final_line(job), err=True)
    if job.status != "completed":
        raise typer.Exit(NOT_COMPLETED)


def _as_json(job: JobView | None) -> Mapping[str, object]:
    if job is None:
        return {"status": None}
    finished = times.absolute(job.finished_at)
    return {"status": job.status, "attempts": job.attempts, "last_error": job.last_error, "finished_at": finished}
