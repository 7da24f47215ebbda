"""`limits`: say how much may start in which time, for whom, and see how much of it is used."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

from supervisor.cli import limit_options
from supervisor.cli.change_options import Json, Reason, checked_name, terms
from supervisor.cli.default_command import Listing
from supervisor.cli.help_page import Command

_Text: TypeAlias = str | None
_Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The name of the limit.")]

limits = typer.Typer(cls=Listing, rich_markup_mode=None, help="Limit what may start in which time, and for whom.")


class Place(StrEnum):
    """Where a limit holds."""

    START = "start"
    ENQUEUE = "enqueue"
    CALL = "call"


class OnSpent(StrEnum):
    """What a limit does when nothing is left of it."""

    WAIT = "wait"
    PAUSE = "pause"


class Fallback(StrEnum):
    """What becomes of calls while the database is out of reach."""

    CLOSED = "closed"
    OPEN = "open"


@limits.command("list", cls=Command)
def list_limits(*, as_json: Json = False) -> None:
    """Show all limits (the default)."""
    from supervisor.cli.limit_view import show_limits

    show_limits(as_json=as_json)


@limits.command("set", cls=Command)
def set_limit(
    name: _Name,
    *,
    window: Annotated[_Text, typer.Option(metavar="N/TIME", help="Never more in any such time: 10/1h.")] = None,
    rate: Annotated[_Text, typer.Option(metavar="N/TIME", help="Evenly so many: 5/s.")] = None,
    burst: Annotated[int | None, typer.Option(metavar="N", min=1, help="With --rate: so many at once.")] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", min=0, help="So many at the same time.")] = None,
    quota: Annotated[_Text, typer.Option(metavar="N/UNIT", help="So many in each hour, day, week, month.")] = None,
    budget: Annotated[_Text, typer.Option(metavar="N/UNIT", help="So much may be spent in each.")] = None,
    zone: Annotated[_Text, typer.Option(metavar="ZONE", help="Where the day turns: Europe/Berlin [UTC].")] = None,
    per: Annotated[_Text, typer.Option(metavar="A,B", help="Count for each tenant, kind, args.FIELD …")] = None,
    service: Annotated[_Text, typer.Option(metavar="NAME", help="Only jobs of this service.")] = None,
    kind: Annotated[_Text, typer.Option(metavar="NAME", help="Only jobs of this kind.")] = None,
    queue: Annotated[_Text, typer.Option(metavar="NAME", help="Only jobs of this queue.")] = None,
    tenant: Annotated[_Text, typer.Option(metavar="NAME", help="Only jobs of this tenant.")] = None,
    at: Annotated[
        Place | None, typer.Option(help="Wait at the start, refuse the enqueue, or hold for calls [start].")
    ] = None,
    on_spent: Annotated[OnSpent, typer.Option(help="Wait, or pause the service or tenant until it turns.")] = (
        OnSpent.WAIT
    ),
    fallback: Annotated[Fallback, typer.Option(help="Calls while the database is away: none, or all.")] = (
        Fallback.CLOSED
    ),
    shadow: Annotated[bool, typer.Option("--shadow", help="Only count what it would hold back.")] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Make a limit, or change it.

    One of --window, --rate, --concurrency, --quota and --budget says how much. It holds for all hosts together from
    when the command comes back, and for jobs that wait already. A job held back waits, and costs no attempt.
    """
    sizes = {"window": window, "rate": rate, "concurrency": concurrency, "quota": quota, "budget": budget}
    amount = limit_options.amount_of(sizes)
    selectors = {"service": service, "kind": kind, "queue": queue, "tenant": tenant}
    given = limit_options.Given(
        name=checked_name(name, "limit"),
        amount=amount,
        burst=limit_options.burst_of(burst, amount),
        zone=limit_options.zone_of(zone, amount),
        per=limit_options.per(per),
        place=(at or (Place.CALL if amount.form == "budget" else Place.START)).value,
        on_spent=on_spent.value,
        fallback=fallback.value,
        shadow=shadow,
        **{field: None if value is None else checked_name(value, field) for field, value in selectors.items()},
    )
    agreed = terms(reason=reason, as_json=as_json)
    from supervisor.cli.limit_changes import put

    put(given, agreed)


@limits.command(cls=Command)
def drop(name: _Name, *, reason: Reason = None, as_json: Json = False) -> None:
    """Remove a limit; what waits for it may start."""
    agreed = terms(reason=reason, as_json=as_json)
    from supervisor.cli.limit_changes import remove

    remove(checked_name(name, "limit"), agreed)


@limits.command(cls=Command)
def status(
    name: Annotated[_Text, typer.Argument(metavar="[NAME]", help="Only this limit.", show_default=False)] = None,
    *,
    key: Annotated[_Text, typer.Option(metavar="KEY", help="Only this tenant, kind …")] = None,
    as_json: Json = False,
) -> None:
    """Show how much of the limits is used, and when there is more."""
    from supervisor.cli.limit_view import show_usage

    show_usage(name, key, as_json=as_json)


@limits.command(cls=Command)
def why(
    job: Annotated[int, typer.Argument(metavar="ID", help="The job.")],
    *,
    as_json: Json = False,
) -> None:
    """Say why a job does not run: each limit, switch, time.

    With whose share is used up, and when there is more if that is known. Exit code 1: there is no such job.
    """
    from supervisor.cli.why_view import show_why

    show_why(job, as_json=as_json)
