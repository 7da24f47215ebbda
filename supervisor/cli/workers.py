"""`workers`: which processes run jobs, in which version, and whether something is wrong among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from supervisor.cli.database_session import leave, with_database
from supervisor.cli.default_command import Listing
from supervisor.cli.help_page import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.store.fleet import Alert, Fleet

_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]

MOST: Final = 1000
"""Workers that are shown at once."""

workers = typer.Typer(cls=Listing, rich_markup_mode=None, help="Look at the processes that run jobs.")


@workers.command("list", cls=Command)
def list_workers(
    *,
    ended: Annotated[bool, typer.Option("--all", help="Show those too that are over.")] = False,
    as_json: _Json = False,
) -> None:
    """Show the workers that live (the default), and what is wrong among them.

    A version with ! is not that of most of them. `running` is as of the last heartbeat. `epoch` is there
    for those that have not confirmed the last change of the switches: confirmed/last.
    """
    from supervisor.cli.workers_view import show_workers
    from supervisor.config import load

    async def read(session: DatabaseSession) -> tuple[Fleet, Sequence[Alert]]:
        from supervisor.store import fleet

        link = session.link
        return await fleet.workers(link, ended=ended, most=MOST), await fleet.alerts(link)

    found, alerts = with_database(load(), read)
    show_workers(found, alerts, as_json=as_json)


@workers.command(cls=Command)
def show(
    worker: Annotated[int, typer.Argument(metavar="ID", help="The id of a worker, as `workers` shows it.")],
    *,
    as_json: _Json = False,
) -> None:
    """Show all that is known of one worker. Exit code 1: there is none with this id."""
    from supervisor.cli.workers_view import show_worker
    from supervisor.config import load

    async def read(session: DatabaseSession) -> Fleet:
        from supervisor.store import fleet

        return await fleet.workers(session.link, worker=worker)

    found = with_database(load(), read)
    if not found.workers:
        leave(1, f"there is no worker {worker}; those that are over are kept for as long as the history")
    show_worker(found, as_json=as_json)
