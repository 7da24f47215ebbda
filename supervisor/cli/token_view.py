"""Shows tokens: as a table, or as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import times
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, table, terminal_width
from supervisor.store.tokens import SCOPES_OF, TokenState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from supervisor.store.tokens import Token

_COLUMNS: Final = (
    Column("name", least=12),
    Column("id"),
    Column("role"),
    Column("only", least=12),
    Column("last used"),
    Column("expires"),
    Column("state"),
)


def show_tokens(found: Sequence[Token], now: datetime, *, as_json: bool) -> None:
    """Print tokens; the state of those that are valid goes without saying."""
    if as_json:
        show_json([_document(token) for token in found])
        return
    if not found:
        typer.echo("there are no tokens; tokens create makes one")
        return
    rows = [_row(token, now) for token in found]
    for line in table(_COLUMNS, rows, width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)


def _row(token: Token, now: datetime) -> tuple[Cell | str, ...]:
    used = "never" if token.last_used_at is None else times.relative(token.last_used_at, now)
    state = "" if token.state is TokenState.VALID else token.state.value
    return (
        token.name,
        token.id,
        token.role.value,
        " ".join(_only(token)),
        used,
        times.relative(token.expires_at, now),
        Cell(state, "red"),
    )


def _only(token: Token) -> Iterable[str]:
    """Say to what a token is confined, beyond what its role says."""
    if token.scopes != SCOPES_OF[token.role]:
        yield from sorted(scope.value for scope in token.scopes)
    yield from (f"tenant={name}" for name in sorted(token.tenants or ()))
    yield from (f"queue={name}" for name in sorted(token.queues or ()))


def _document(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "scopes": sorted(scope.value for scope in token.scopes),
        "tenants": None if token.tenants is None else sorted(token.tenants),
        "queues": None if token.queues is None else sorted(token.queues),
        "created_at": times.absolute(token.created_at),
        "created_by": token.created_by,
        "expires_at": times.absolute(token.expires_at),
        "last_used_at": times.absolute(token.last_used_at),
        "revoked_at": times.absolute(token.revoked_at),
        "state": token.state.value,
    }
