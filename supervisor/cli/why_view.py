"""Says why a job does not run: each switch, limit, time or lack of a worker that stands against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import times
from supervisor.cli.control_report import row
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.store.limit_rows import Obstacle

NOT_THERE: Final = 1
"""The exit code when there is no such job."""


def show_why(job: int, *, as_json: bool) -> None:
    """Print every reason; leave with exit code 1 if nobody knows the job."""
    from supervisor.config import load

    async def work(session: DatabaseSession) -> tuple[Sequence[Obstacle], datetime]:
        from supervisor.store import job_listing, limits

        return await limits.why(session.link, job), await job_listing.now(session.link)

    found, now = with_database(load(), work)
    if as_json:
        reasons = [
            {"what": one.what, "key": one.key, "until": times.absolute(one.until), "detail": one.detail}
            for one in found
        ]
        show_json({"job": job, "reasons": reasons})
    words = {one.what for one in found}
    if "unknown" in words:
        if as_json:
            raise typer.Exit(NOT_THERE)
        leave(NOT_THERE, f"there is no job {job}, neither live nor in the history")
    if as_json:
        return
    if words <= {"running", "over"}:
        typer.echo(f"job {job} does not wait: {'; '.join(plain(one.detail) for one in found)}")
        return
    typer.echo(f"job {job} waits")
    # That it is not its turn yet is no reason as long as something else stands against it.
    for one in [one for one in found if one.what != "turn"] or found:
        key = f"{plain(one.key)}: " if one.key else ""
        until = "" if one.until is None else f"; over {times.relative(one.until, now)}"
        typer.echo(row(one.what.replace("_", " "), f"{key}{plain(one.detail)}{until}"))
