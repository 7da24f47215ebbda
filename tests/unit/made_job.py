"""Makes a job of a function of the context, for tests that run one handler after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.jobs.context import JobContext  # noqa: TC001 - `job` reads the annotation at run time
from supervisor.jobs.job import job
from supervisor.testing import JobRun, run_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def handler(body: Callable[[JobContext], Awaitable[object]], **options: Any) -> Callable[..., Awaitable[JobRun]]:  # noqa: ANN401 - options of job()
    """Make a job of a function of the context, and return what runs it."""

    @job("made", **options)
    async def made(ctx: JobContext) -> None:
        await body(ctx)

    return lambda **more: run_job(made, **more)
