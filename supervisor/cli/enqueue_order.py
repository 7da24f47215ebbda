"""What an enqueue is about: the kind of job, known from the application or else from the database, and its options."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from supervisor.cli.database_session import leave
from supervisor.errors import EnqueueRefused, InvalidPayload
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor.config import Config
    from supervisor.jobs.args_lines import LineReader
    from supervisor.jobs.job import Job
    from supervisor.store.enqueue import JobOptions
    from supervisor.store.link import Link

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs of one kind with the same options. `job` is None where no application says what its arguments are."""

    kind: str
    job: Job[Any] | None
    options: JobOptions

    @property
    def reader(self) -> LineReader[Any]:
        """What reads the arguments of these jobs."""
        from supervisor.jobs.args_lines import LineReader, untyped

        return untyped(self.kind) if self.job is None else LineReader.of(self.job)


def job_called(kind: str, config: Config, *, app_named: bool) -> Job[Any] | None:
    """Return the job of the application; None without an application, or where it is another that has the job.

    An application that was named for this very command (`app_named`) must have the job. Raises ConfigError for one
    that cannot be loaded.
    """
    if config.app is None:
        return None
    from supervisor.cli.load_app import load_app

    jobs = {job.kind: job for job in load_app(config.app).jobs}
    if kind not in jobs and app_named:
        raise typer.BadParameter(f"{config.app} has no job of kind {kind!r}; {_meant(kind, jobs)}")
    return jobs.get(kind)


async def make_known(link: Link, order: Order) -> None:
    """See that the database knows the kind: tell it about a job, and ask for a bare kind.

    Raises EnqueueRefused for a kind that nobody ever offered.
    """
    from supervisor.store import kinds

    if order.job is not None:
        job = order.job
        known = kinds.Kind(job.kind, job.queue, job.service, job.max_attempts, job.timeout, job.changes, job.essential)
        await kinds.offer(link, [known], replace=False)
        return
    offered = [row.kind for row in await kinds.listed(link)]
    if order.kind not in offered:
        meant = _meant(order.kind, offered)
        raise EnqueueRefused(f"kind {order.kind!r}: no worker has ever offered such jobs; {meant}")


def or_leave(check: Callable[[], T]) -> T:
    """Return what `check` returns; what it refuses is a mistake on the command line."""
    try:
        return check()
    except (EnqueueRefused, InvalidPayload) as error:
        leave(ExitCode.USAGE, str(error))


def _meant(kind: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if close := difflib.get_close_matches(kind, names, n=1):
        return f"did you mean {close[0]!r}?"
    if not names:
        return "name the application with --app module:name, or start a worker once"
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")  # noqa: PLR2004
    return f"its kinds are: {shown}"
