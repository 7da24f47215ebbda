"""Shows the limits, how much of them is used, and why a job waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import switch_words, times
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.json_answer import show_json
from supervisor.cli.limit_words import amount, document, whom
from supervisor.cli.text_table import Cell, Column, colours_wanted, plain, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.config import Config
    from supervisor.store.limit_rows import LimitRow, LimitUsage

NOT_THERE: Final = 1
"""The exit code when there is no such limit."""

_MOST: Final = 1000
_LIMITS: Final = (
    Column("limit", least=10),
    Column("form"),
    Column("amount", right=True),
    Column("burst", right=True),
    Column("for each", least=8),
    Column("of", least=8),
    Column("at"),
    Column("zone", least=6),
    Column("", least=6),
)
_USAGE: Final = (
    Column("limit", least=10),
    Column("key", least=10),
    Column("used", right=True),
    Column("reserved", right=True),
    Column("of", right=True),
    Column("left", right=True),
    Column("more"),
    Column("granted", right=True),
    Column("held back", right=True),
    Column(""),
)


def show_limits(*, as_json: bool) -> None:
    """Print all limits."""

    async def work(session: DatabaseSession) -> Sequence[LimitRow]:
        from supervisor.store import limits

        return await limits.listed(session.link)

    found = with_database(_settings(), work)
    if as_json:
        show_json([document(limit) for limit in found])
        return
    if not found:
        typer.echo(
            f"no limits; make one: {switch_words.PROGRAM} limits set NAME --window 10/1h --per tenant --reason …"
        )
        return
    rows = [_limit(limit) for limit in found]
    for line in table(_LIMITS, rows, width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)


def show_usage(name: str | None, key: str | None, *, as_json: bool) -> None:
    """Print how much is used of one limit, or of all, for each key that was used lately."""

    async def work(session: DatabaseSession) -> tuple[Sequence[LimitUsage], Sequence[str], datetime]:
        from supervisor.store import job_listing, limits

        link = session.link
        found = await limits.limit_status(link, name, key, most=_MOST)
        names = [limit.name for limit in await limits.listed(link)]
        return found, names, await job_listing.now(link)

    found, names, now = with_database(_settings(), work)
    if name is not None and name not in names:
        import difflib

        close = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {close[0]}?" if close else f"see: {switch_words.PROGRAM} limits"
        leave(NOT_THERE, f"there is no limit {name!r}; {meant}")
    if as_json:
        show_json([_usage_document(one) for one in found])
        return
    if not found:
        typer.echo("no limits" if not names else "nothing is used")
        return
    rows = [_usage(one, now) for one in found]
    for line in table(_USAGE, rows, width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)
    if len(found) == _MOST:
        typer.echo(f"the first {_MOST}; name a limit, or one --key of it")


def _settings() -> Config:
    from supervisor.config import load

    return load()


def _limit(limit: LimitRow) -> list[Cell | str]:
    notes = ["shadow"] if limit.shadow else []
    notes += ["pauses when spent"] if limit.on_spent == "pause" else []
    burst = "" if limit.burst is None or limit.form != "rate" else str(limit.burst)
    return [
        limit.name,
        limit.form,
        amount(limit),
        burst,
        ", ".join(limit.by),
        whom(limit) or "all jobs",
        limit.place,
        limit.zone or "",
        Cell(", ".join(notes), "yellow"),
    ]


def _usage(one: LimitUsage, now: datetime) -> list[Cell | str]:
    spent = one.remaining <= 0
    held_back = one.shadowed if one.shadow else one.held_back
    return [
        one.name,
        one.key,
        _number(one.used),
        _number(one.reserved) if one.reserved else "",
        _number(one.amount),
        Cell(_number(one.remaining), "red" if spent else None),
        "" if one.reset_at is None else times.relative(one.reset_at, now),
        str(one.granted),
        str(held_back),
        Cell("shadow" if one.shadow else "", "yellow"),
    ]


def _number(value: float) -> str:
    return plain(f"{value:,.2f}".rstrip("0").rstrip("."))


def _usage_document(one: LimitUsage) -> Mapping[str, object]:
    return {
        "limit": one.name,
        "key": one.key,
        "form": one.form,
        "place": one.place,
        "shadow": one.shadow,
        "used": one.used,
        "reserved": one.reserved,
        "amount": one.amount,
        "remaining": one.remaining,
        "reset_at": times.absolute(one.reset_at),
        "granted": one.granted,
        "held_back": one.held_back,
        "shadowed": one.shadowed,
    }
