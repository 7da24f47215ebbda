"""Shows what is off and what is on: the kill switch, the mode, and services, tenants, queues and kinds by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import switch_words, times
from supervisor.cli.control_report import confirmation_document, confirmation_lines, row
from supervisor.cli.database_session import with_database
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, plain, styled, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.config import Config
    from supervisor.store.control import Confirmation, Scope, Setting, Switches

SHOWN: Final = 50
MOST: Final = 1000
"""Switches that are shown to people, and that are read at all."""

_COLUMNS: Final = (
    Column("off", least=12),
    Column("for", right=True),
    Column("turns back"),
    Column("by", least=8),
    Column("reason", least=12),
)
_NAMES: Final = (
    Column("name", least=12),
    Column("state"),
    Column("weight", right=True),
    Column("for", right=True),
    Column("turns back"),
    Column("by", least=8),
    Column("reason", least=12),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is set, who has confirmed it, and the time by the clock of the database."""

    switches: Switches
    settings: Sequence[Setting]
    confirmation: Confirmation
    now: datetime

    def of(self, scope: str, name: str | None = None) -> Setting | None:
        """Return what is recorded of a switch; None if it is as usual."""
        found = (one for one in self.settings if (one.scope.value, one.name) == (scope, name))
        return next(found, None)


def show_status(*, as_json: bool) -> None:
    """Print the kill switch, all that is off, and who has confirmed the last change."""
    seen = with_database(_settings(), _look)
    if as_json:
        show_json(
            {
                "at": times.absolute(seen.now),
                "kill_switch": {"active": seen.switches.killed, **_facts(seen.of("kill_switch"))},
                "mode": str(seen.switches.mode),
                "epoch": seen.switches.epoch,
                "off": [_document(one) for one in seen.settings],
                "confirmation": confirmation_document(seen.confirmation),
            }
        )
        return
    colours = colours_wanted()
    killed = seen.switches.killed
    head = switch_words.headline("kill_switch", None, killed)
    typer.echo(styled(head, "red" if killed else "green", colours=colours))
    typer.echo(row("mode", str(seen.switches.mode)))
    typer.echo(row("epoch", str(seen.switches.epoch)))
    for line in confirmation_lines(seen.confirmation, waited=False, off=bool(seen.settings)):
        typer.echo(line)
    if not seen.settings:
        typer.echo(row("off", "nothing"))
        return
    typer.echo()
    rows = [_row(one, seen.now) for one in seen.settings[:SHOWN]]
    for line in table(_COLUMNS, rows, width=terminal_width(), colours=colours):
        typer.echo(line)
    if len(seen.settings) > SHOWN:
        more = "or more" if len(seen.settings) == MOST else "in all"
        typer.echo(f"the first {SHOWN} of {len(seen.settings)} {more}; --json shows up to {MOST}")


def show_mode(*, as_json: bool) -> None:
    """Print the mode, and since when and why it is not the usual one."""
    seen = with_database(_settings(), _look)
    one = seen.of("mode")
    if as_json:
        show_json({"mode": str(seen.switches.mode), "epoch": seen.switches.epoch, **_facts(one)})
        return
    typer.echo(switch_words.headline("mode", None, str(seen.switches.mode)))
    for line in _why(one, seen.now):
        typer.echo(line)
    if seen.switches.killed:
        typer.echo(row("but", "the kill switch is active: nothing starts at all"))


def show_name(scope: str, name: str, *, as_json: bool) -> None:
    """Print whether jobs of one service, tenant, queue or kind may start, and what else forbids it."""

    async def work(session: DatabaseSession) -> Seen:
        from supervisor.store.control import Scope

        return await _look(session, Scope(scope), name)

    seen = with_database(_settings(), work)
    one = seen.of(scope, name)
    off = name in off_names(seen.switches, scope)
    wider = _wider(seen.switches)
    if as_json:
        facts = {"off": off, "may_start": not off and not wider, "forbidden_by": wider, **_facts(one)}
        show_json({scope: name, **facts, "epoch": seen.switches.epoch})
        return
    typer.echo(switch_words.headline(scope, name, off))
    for line in _why(one, seen.now):
        typer.echo(line)
    if off:
        typer.echo(row("undo", switch_words.back(scope, name)))
    for each in wider:
        typer.echo(row("but", each))


def show_names(scope: str, *, as_json: bool) -> None:
    """Print all services, kinds or tenants that are known, and which of them are off."""

    async def work(session: DatabaseSession) -> tuple[Seen, Mapping[str, float | None]]:
        return await _look(session), await _known(session, scope)

    def weight(name: str) -> Mapping[str, object]:
        return {"weight": known.get(name)} if scope == "tenant" else {}

    seen, known = with_database(_settings(), work)
    off = off_names(seen.switches, scope)
    names = sorted({*known, *off})
    if as_json:
        show_json([{scope: name, "off": name in off, **weight(name), **_facts(seen.of(scope, name))} for name in names])
        return
    if not names:
        nobody = "no tenant is paused or has a weight of its own" if scope == "tenant" else f"no {scope} is known"
        typer.echo(nobody)
        return
    rows = [_name_row(name, seen.of(scope, name), known.get(name), seen.now, off=name in off) for name in names]
    for line in table(_NAMES, rows, width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)
    for each in _wider(seen.switches):
        typer.echo(f"but {each}")


def off_names(switches: Switches, scope: str) -> Collection[str]:
    """Return the names of this scope that are off."""
    names: Mapping[str, Collection[str]] = {
        "service": switches.off_services,
        "tenant": switches.off_tenants,
        "queue": switches.off_queues,
        "kind": switches.off_kinds,
    }
    return names[scope]


async def _look(session: DatabaseSession, scope: Scope | None = None, name: str | None = None) -> Seen:
    from supervisor.store import control, job_listing

    link = session.link
    switches = await control.read(link)
    return Seen(
        switches=switches,
        settings=await control.settings(link, scope, name, most=MOST),
        confirmation=await control.confirmed(link, switches.epoch, 0.0),
        now=await job_listing.now(link),
    )


async def _known(session: DatabaseSession, scope: str) -> Mapping[str, float | None]:
    """Name what has been offered; of tenants, of whom there may be very many, those with a weight of their own."""
    from supervisor.store import kinds, limits

    if scope == "tenant":
        return await limits.weights(session.link)
    return dict.fromkeys(str(getattr(kind, scope)) for kind in await kinds.listed(session.link))


def _settings() -> Config:
    from supervisor.config import load

    return load()


def _wider(switches: Switches) -> list[str]:
    """Say what forbids jobs of any name."""
    found = ["the kill switch is active: nothing starts at all"] if switches.killed else []
    if str(switches.mode) != "normal":
        found.append(switch_words.headline("mode", None, str(switches.mode)))
    return found


def _why(one: Setting | None, now: datetime) -> Iterator[str]:
    if one is None:
        return
    yield row("since", f"{times.short((now - one.since).total_seconds())}, by {plain(one.actor)}")
    yield row("reason", plain(one.reason))
    if one.expires_at is not None:
        yield row("turns back", f"by itself {times.relative(one.expires_at, now)}")


def _row(one: Setting, now: datetime) -> list[Cell | str]:
    title = switch_words.title(one.scope.value, str(one.value) if one.scope.value == "mode" else one.name)
    return [Cell(title, "red" if one.scope.value == "kill_switch" else "yellow"), *_since(one, now)]


def _name_row(name: str, one: Setting | None, weight: float | None, now: datetime, *, off: bool) -> list[Cell | str]:
    state = Cell("off", "yellow") if off else Cell("on", "green")
    shown = "" if weight is None else f"{weight:g}"
    return [name, state, shown, *(["", "", "", ""] if one is None else _since(one, now))]


def _since(one: Setting, now: datetime) -> list[Cell | str]:
    back = "" if one.expires_at is None else times.relative(one.expires_at, now)
    return [times.short((now - one.since).total_seconds()), back, one.actor, one.reason]


def _facts(one: Setting | None) -> Mapping[str, object]:
    if one is None:
        return {"since": None, "actor": None, "reason": None, "expires_at": None}
    return {
        "since": times.absolute(one.since),
        "actor": one.actor,
        "reason": one.reason,
        "expires_at": times.absolute(one.expires_at),
    }


def _document(one: Setting) -> Mapping[str, object]:
    return {"scope": one.scope.value, "name": one.name, "value": one.value, **_facts(one), "epoch": one.epoch}
