"""Shows the numbers of all queues, again and again, and goes on through an outage of the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from supervisor.cli.database_session import leave, with_database
from supervisor.errors import DatabaseUnavailable
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.config import Config


def watch_queues(config: Config, every: float, *, fresh: bool = False) -> None:
    """Draw the table every so many seconds, on a screen of its own, until Ctrl-C."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        leave(ExitCode.USAGE, "--watch needs a terminal")
    with_database(config, lambda session: _watch(session, console, every, fresh=fresh), endless=True)


async def _watch(session: DatabaseSession, console: Console, every: float, *, fresh: bool) -> None:
    from rich.live import Live

    with Live(await view(session, console, fresh=fresh), console=console, screen=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(every)
            live.update(await view(session, console, fresh=fresh), refresh=True)


async def view(session: DatabaseSession, console: Console, *, fresh: bool = False) -> Text:
    """Draw the table, or say that the database is away. With `fresh` it is counted for this."""
    from rich.text import Text

    from supervisor.cli.queue_view import age_line, stats_lines
    from supervisor.cli.text_table import NARROWEST, WIDEST
    from supervisor.store import job_listing, queues

    try:
        await session.reconnect()
        found = await queues.known_stats(session.link, fresh=fresh, within=job_listing.LONG)
        now = await job_listing.now(session.link)
    except DatabaseUnavailable as error:
        return Text(f"{error}\ntrying again", style="red")
    width = min(WIDEST, max(NARROWEST, console.width))
    lines = stats_lines(found.queues, width=width, colours=not console.no_color)
    foot = filter(None, (f"{now:%Y-%m-%d %H:%M:%S} UTC", age_line(found)))
    return Text.from_ansi("\n".join([*lines, "", ", ".join(foot)]))
