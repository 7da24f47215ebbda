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
    from supervisor.store.queues import KnownStats

_Text: TypeAlias = str | None
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
_Fresh: TypeAlias = Annotated[bool, typer.Option("--fresh", help="Count now, however many jobs there are.")]

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
    fresh: _Fresh = False,
    as_json: _Json = False,
) -> None:
    """Say how many jobs each queue has.

    As the workers measured it last, and how long ago; if that is more than 2 minutes, all are counted now.
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

        watch_queues(config, every, fresh=fresh)
        return
    from supervisor.cli.json_answer import show_json
    from supervisor.cli.queue_view import age_line, stats_document, stats_lines
    from supervisor.cli.text_table import colours_wanted, terminal_width

    found, now = with_database(config, lambda session: _stats(session, fresh=fresh))
    if as_json:
        numbers = {"age_s": found.age, "sampled": found.sampled, "queues": stats_document(found.queues)}
        show_json({"at": times.absolute(now), **numbers})
        return
    for line in [*stats_lines(found.queues, width=terminal_width(), colours=colours_wanted()), age_line(found)]:
        if line:
            typer.echo(line)


@queue.command(cls=Command)
def health(
    *,
    warn_depth: Annotated[int, typer.Option(metavar="JOBS", help="A warning: so many are ready to run.")] = 10_000,
    max_depth: Annotated[int, typer.Option(metavar="JOBS", help="Critical: so many.")] = 100_000,
    warn_age: Annotated[str, typer.Option(metavar="SECONDS", help="A warning: one is ready for so long.")] = "60s",
    max_age: Annotated[str, typer.Option(metavar="SECONDS", help="Critical: for so long.")] = "10m",
    fresh: _Fresh = False,
    as_json: _Json = False,
) -> None:
    """Say whether the queues are well.

    And if not, why and what to do. Looks at how much waits and for how long, at queues that no live
    worker takes from or that take no more, silent workers, failures within the last hour, jobs that wait for a person,
    jobs that a worker died with, slow jobs, switches, and what makes the database suffer. The numbers of jobs are
    those of `queue stats`; while no worker lives they are counted. Exit codes: 0 healthy, 1 warning, 2 critical;
    69 the database is out of reach.
    """
    from supervisor.cli.queue_view import show_health
    from supervisor.config import load
    from supervisor.jobs.queue_health import Limits, judge

    limits = Limits(depth=(warn_depth, max_depth), age=(times.duration(warn_age), times.duration(max_age)))
    found, now = with_database(load(), lambda session: _facts(session, fresh=fresh))
    judgement = judge(found, limits)
    show_health(judgement, found, now, as_json=as_json)
    raise typer.Exit(int(judgement.level))


add_switch(queue, "queue", "pause", "resume")
add_settings(queue)


async def _stats(session: DatabaseSession, *, fresh: bool) -> tuple[KnownStats, datetime]:
    from supervisor.store import job_listing, queues

    found = await queues.known_stats(session.link, fresh=fresh, within=job_listing.LONG)
    return found, await job_listing.now(session.link)


async def _facts(session: DatabaseSession, *, fresh: bool) -> tuple[Facts, datetime]:
    from supervisor.jobs.pressure import Reading
    from supervisor.jobs.queue_health import Facts
    from supervisor.store import figures, job_listing, queue_facts, queues, workers

    link = session.link
    living = await queue_facts.live_workers(link)
    # Nobody measures while no worker lives, and then most of all it matters what has come in since.
    fresh = fresh or not any(worker.lease_left > 0 for worker in living)
    known = await queues.known_stats(link, fresh=fresh, within=job_listing.LONG)
    holders = [held.worker for held in await workers.find_held(link, within=job_listing.LONG)]
    facts = Facts(
        full=figures.full(await figures.queues(link)),
        slow=len(await figures.slow_jobs(link)),
        database=Reading(*await figures.database_facts(link)),
        queues=known.queues,
        age=known.age,
        workers=living,
        switches=await queue_facts.switches(link),
        holders=holders,
    )
    return facts, await job_listing.now(link)
