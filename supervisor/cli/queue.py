"""`queue`: how much waits in each queue, and whether that is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from supervisor.cli import times
from supervisor.cli.database_session import with_database
from supervisor.cli.help_page import Command, Group
from supervisor.cli.named_switch import add_switch
from supervisor.cli.queue_settings import add_settings

if TYPE_CHECKING:
    from datetime import datetime

    from typer._click.core import Context

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.jobs.queue_health import Facts
    from supervisor.store.queues import QueueStats

_Text: TypeAlias = str | None
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]

WATCH_EVERY: Final = "2"
"""Seconds between two looks of `--watch` that does not say."""

queue = typer.Typer(cls=Group, rich_markup_mode=None, no_args_is_help=True, help="Look at queues, pause or resume one.")


class Watching(Command):
    """A command whose option `--watch` may have a value or none."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put the usual value behind a `--watch` that has none."""
        for place, word in enumerate(args):
            if word == "--watch" and (place + 1 == len(args) or args[place + 1].startswith("-")):
                args = [*args[: place + 1], WATCH_EVERY, *args[place + 1 :]]
                break
        return super().parse_args(ctx, args)


@queue.command(cls=Watching)
def stats(
    *,
    watch: Annotated[_Text, typer.Option(metavar="[SECONDS]", help="Show it anew so often [2], until Ctrl-C.")] = None,
    as_json: _Json = False,
) -> None:
    """Count the jobs of each queue.

    Of those that are over, only the last hour counts. `blocked` are those that wait for a person, and
    `lost` those that a worker died with: they run again in a process of their own.
    """
    from supervisor.config import load

    every = None if watch is None else max(0.1, times.duration(watch))
    if every is not None and as_json:
        raise typer.BadParameter("--watch shows a table; it does not go with --json")
    config = load()
    if every is not None:
        from supervisor.cli.queue_watch import watch_queues

        watch_queues(config, every)
        return
    from supervisor.cli.json_answer import show_json
    from supervisor.cli.queue_view import stats_document, stats_lines
    from supervisor.cli.text_table import colours_wanted, terminal_width

    found, now = with_database(config, _stats)
    if as_json:
        show_json({"at": times.absolute(now), "queues": stats_document(found)})
        return
    for line in stats_lines(found, width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)


@queue.command(cls=Command)
def health(
    *,
    warn_depth: Annotated[int, typer.Option(metavar="JOBS", help="A warning: so many are ready to run.")] = 10_000,
    max_depth: Annotated[int, typer.Option(metavar="JOBS", help="Critical: so many.")] = 100_000,
    warn_age: Annotated[str, typer.Option(metavar="SECONDS", help="A warning: one is ready for so long.")] = "60s",
    max_age: Annotated[str, typer.Option(metavar="SECONDS", help="Critical: for so long.")] = "10m",
    as_json: _Json = False,
) -> None:
    """Say whether the queues are well.

    And if not, why and what to do. Looks at how much waits and for how long, at queues that no live
    worker takes from or that take no more, silent workers, failures within the last hour, jobs that wait for a person,
    jobs that a worker died with, slow jobs, switches, and what makes the database suffer. Exit codes: 0 healthy,
    1 warning, 2 critical; 69 the database is out of reach.
    """
    from supervisor.cli.queue_view import show_health
    from supervisor.config import load
    from supervisor.jobs.queue_health import Limits, judge

    limits = Limits(depth=(warn_depth, max_depth), age=(times.duration(warn_age), times.duration(max_age)))
    found, now = with_database(load(), _facts)
    judgement = judge(found, limits)
    show_health(judgement, found, now, as_json=as_json)
    raise typer.Exit(int(judgement.level))


add_switch(queue, "queue", "pause", "resume")
add_settings(queue)


async def _stats(session: DatabaseSession) -> tuple[list[QueueStats], datetime]:
    from supervisor.store import job_listing, queues

    return await queues.stats(session.link, within=job_listing.LONG), await job_listing.now(session.link)


async def _facts(session: DatabaseSession) -> tuple[Facts, datetime]:
    from supervisor.jobs.pressure import Reading
    from supervisor.jobs.queue_health import Facts
    from supervisor.store import figures, job_listing, queue_facts, queues, workers

    link = session.link
    holders = [held.worker for held in await workers.find_held(link, within=job_listing.LONG)]
    facts = Facts(
        full=figures.full(await figures.queues(link)),
        slow=len(await figures.slow_jobs(link)),
        database=Reading(*await figures.database_facts(link)),
        queues=await queues.stats(link, within=job_listing.LONG),
        workers=await queue_facts.live_workers(link),
        switches=await queue_facts.switches(link),
        holders=holders,
    )
    return facts, await job_listing.now(link)
