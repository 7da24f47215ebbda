"""`tokens`: who may use the HTTP interface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from supervisor.cli import times
from supervisor.cli.change_options import Json, Reason, terms
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.default_command import Listing
from supervisor.cli.help_page import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from enum import StrEnum

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.store.tokens import NewToken, Token

    E = TypeVar("E", bound=StrEnum)

_Names: TypeAlias = list[str]

NOT_DONE: Final = 1
"""The exit code when the database answered, and not everything could be done."""

_DAY: Final = 86_400.0

tokens = typer.Typer(cls=Listing, rich_markup_mode=None, help="See and change who may use the HTTP interface.")


@tokens.command(cls=Command)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who uses it; the audit log says so.")],
    *,
    role: Annotated[str, typer.Option(metavar="ROLE", help="viewer, operator or admin.")],
    scope: Annotated[_Names, typer.Option(metavar="SCOPE", help="Only this of what the role may; can repeat.")] = [],  # noqa: B006 - typer makes a new one
    tenant: Annotated[_Names, typer.Option(metavar="NAME", help="Only for this tenant; can repeat.")] = [],  # noqa: B006
    queue: Annotated[_Names, typer.Option(metavar="NAME", help="Only for this queue; can repeat.")] = [],  # noqa: B006
    valid: Annotated[str, typer.Option(metavar="TIME", help="How long it is valid.")] = "90d",
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a new file that only you can read.")
    ] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Make a token, and print it.

    It is shown this once: the database keeps only a digest of it. Two tokens of one name may be valid at once, so
    that a new one can take over before the old one is revoked.
    """
    from supervisor.cli import person
    from supervisor.config import load
    from supervisor.store.tokens import Role, TokenScope
    from supervisor.store.tokens import create as make

    as_role = _one(Role, role, "--role")
    scopes = [_one(TokenScope, each, "--scope") for each in scope]
    days = _days(valid)
    why = terms(reason=reason, as_json=as_json).reason
    if to is not None and to.exists():  # before there is a token that nobody would have
        raise typer.BadParameter(f"{to} is there already; name a new file", param_hint="--to")

    async def work(session: DatabaseSession) -> NewToken:
        return await make(
            session.link,
            name,
            role=as_role,
            scopes=scopes or None,
            tenants=tenant or None,
            queues=queue or None,
            days=days,
            actor=person.actor(),
            reason=why,
            source=person.source(),
        )

    _hand_over(with_database(load(), work), to, as_json=as_json)


@tokens.command("list", cls=Command)
def list_tokens(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that are expired or revoked.")] = False,
    as_json: Json = False,
) -> None:
    """List the valid tokens (the default).

    By who uses them, with what they allow and when they were used last. Nobody can see the tokens themselves.
    """
    from supervisor.cli.token_view import show_tokens
    from supervisor.config import load

    async def work(session: DatabaseSession) -> tuple[Sequence[Token], datetime]:
        from supervisor.store import job_listing
        from supervisor.store.tokens import listed

        return await listed(session.link, ended=every), await job_listing.now(session.link)

    show_tokens(*with_database(load(), work), as_json=as_json)


@tokens.command(cls=Command)
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The tokens, by their ids.", show_default=False)],
    *,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Revoke tokens: from now on they open nothing.

    The id is what `tokens list` shows, the part of a token between the two underscores. Exit code 1: some of them
    were revoked before, or never were.
    """
    from supervisor.cli import person
    from supervisor.cli.json_answer import show_json
    from supervisor.config import load
    from supervisor.store.tokens import public_id
    from supervisor.store.tokens import revoke as end

    if any(public_id(each) is not None for each in ids):
        raise typer.BadParameter(
            "give the id alone, the part between the underscores: a whole token can be seen in the list of processes; "
            "revoke this one",
            param_hint="ID",
        )
    why = terms(reason=reason, as_json=as_json).reason

    async def work(session: DatabaseSession) -> dict[str, bool]:
        return {
            each: await end(session.link, each, actor=person.actor(), reason=why, source=person.source())
            for each in ids
        }

    done = with_database(load(), work)
    if as_json:
        show_json([{"id": each, "revoked": revoked} for each, revoked in done.items()])
    for each, revoked in () if as_json else done.items():
        typer.echo(f"{each} is revoked" if revoked else f"{each}: no such token, or it was revoked before")
    if not all(done.values()):
        raise typer.Exit(NOT_DONE)


def _hand_over(made: NewToken, to: Path | None, *, as_json: bool) -> None:
    """Give the token to whoever asked: on standard output alone, so that it can be piped, or into a file."""
    from supervisor.cli.json_answer import show_json

    if to is not None:
        _write(made, to)
    if as_json:
        document = {"id": made.id, "name": made.name, "expires_at": times.absolute(made.expires_at)}
        show_json(document if to is not None else {**document, "token": made.text})
        return
    typer.echo(f"token {made.id} for {made.name}, valid until {times.absolute(made.expires_at)}", err=True)
    if to is None:
        typer.echo("it is shown this once:", err=True)
        typer.echo(made.text)


def _write(made: NewToken, to: Path) -> None:
    import os

    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{made.text}\n")
    except OSError as error:
        leave(NOT_DONE, f"cannot write {to}: {error.strerror}; token {made.id} is lost: revoke it, and make another")


def _days(text: str) -> float:
    try:
        return times.duration(text) / _DAY
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint="--valid") from None


def _one(kinds: type[E], text: str, option: str) -> E:
    try:
        return kinds(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is none of {_listed(kinds)}", param_hint=option) from None


def _listed(kinds: Iterable[E]) -> str:
    return ", ".join(kind.value for kind in kinds)
