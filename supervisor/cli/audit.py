"""`audit`: who changed what, when and why, and whether the record of it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from supervisor.cli import times
from supervisor.cli.change_options import Json
from supervisor.cli.default_command import Listing
from supervisor.cli.help_page import Command

_Text: TypeAlias = str | None

audit = typer.Typer(cls=Listing, rich_markup_mode=None, help="See who changed what and why; verify the record.")


@audit.command("list", cls=Command)
def list_changes(
    *,
    scope: Annotated[_Text, typer.Option(metavar="SCOPE", help="Only these: kill_switch, mode, tenant …")] = None,
    name: Annotated[_Text, typer.Option(metavar="NAME", help="Only of this tenant, service …")] = None,
    actor: Annotated[_Text, typer.Option(metavar="WHO", help="Only those of this person or token.")] = None,
    since: Annotated[_Text, typer.Option(metavar="TIME", help="Since then: 90s, 2h, 7d, or a time.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only attempts that were refused.")] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=100_000, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List changes, the newest first (the default).

    Of switches, limits and tokens, and what was tried and refused.
    """
    from supervisor.cli.audit_view import Asked, show_changes

    start = None if since is None else times.moment_or_age(since)
    asked = Asked(scope=scope, name=name, actor=actor, since=start, refused=refused, most=limit)
    show_changes(asked, as_json=as_json)


@audit.command(cls=Command)
def verify(
    *,
    against: Annotated[
        _Text, typer.Option(metavar="END", help="What an earlier verify printed, or the file of an export.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that no entry was changed, removed or slipped in.

    Each entry has a digest of itself and of the one before. With --against it also must be the record that it was
    then, and not one made anew. Exit codes: 0 the record is whole; 1 it is not, and where; 69 the database is out of
    reach, try again.
    """
    from supervisor.cli.audit_view import show_verdict

    show_verdict(against, as_json=as_json)


@audit.command(cls=Command)
def export(
    *,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to a new file [standard output].")] = None,
) -> None:
    """Write all entries as lines of JSON, with their digests.

    The oldest come first. Keep it elsewhere: who can write to the database as its owner could make a new
    chain, but not one that agrees with what was exported before.
    """
    from supervisor.cli.audit_view import export_changes

    export_changes(to)
