"""Makes, changes and removes limits, gives tenants their weights, and says what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

import typer

from supervisor.cli import person, switch_words
from supervisor.cli.control_change import stop_for
from supervisor.cli.control_report import row
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.json_answer import show_json
from supervisor.cli.limit_words import document, sentence
from supervisor.cli.text_table import colours_wanted, plain, styled
from supervisor.errors import DatabaseUnavailable, StatementRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from supervisor.cli.change_options import Terms
    from supervisor.cli.database_session import DatabaseSession
    from supervisor.cli.limit_options import Given
    from supervisor.store.limit_rows import Fallback, LimitChange, LimitForm, LimitPlace, LimitRow, LimitUnit, OnSpent
    from supervisor.store.link import Link

T = TypeVar("T")

NOT_THERE: Final = 1
"""The exit code when there is no such limit."""


def put(given: Given, agreed: Terms) -> None:
    """Make a limit or change it."""
    wanted = _row(given)

    async def work(link: Link) -> LimitChange:
        from supervisor.store import limits

        return await limits.set_limit(
            link,
            wanted,
            reason=agreed.reason,
            actor=person.actor(),
            source=person.source(),
            dry_run=agreed.dry_run,
        )

    change = _done(work)
    if agreed.as_json:
        show_json(_document(given.name, change, agreed))
        return
    if not change.changed:
        head = f"limit {plain(given.name)}: it is so already, nothing was changed"
    elif change.before is None:
        head = f"limit {plain(given.name)} made"
    else:
        head = f"limit {plain(given.name)} changed"
    _say(head, agreed)
    typer.echo(row("now", sentence(wanted)))
    if change.changed and change.before is not None:
        typer.echo(row("before", sentence(change.before)))
    if not agreed.dry_run:
        _next(wanted)


def remove(name: str, agreed: Terms) -> None:
    """Remove a limit; leave with exit code 1 if there is none of that name."""

    async def work(link: Link) -> LimitChange:
        from supervisor.store import limits

        return await limits.drop_limit(
            link,
            name,
            reason=agreed.reason,
            actor=person.actor(),
            source=person.source(),
            dry_run=agreed.dry_run,
        )

    change = _done(work)
    if agreed.as_json:
        show_json(_document(name, change, agreed))
    if change.before is None:
        leave(NOT_THERE, f"there is no limit {name!r}; see: {switch_words.PROGRAM} limits")
    if not agreed.as_json:
        _say(f"limit {plain(name)} removed: what waited for it may start", agreed)
        typer.echo(row("before", sentence(change.before)))


def set_weight(name: str, weight: float, agreed: Terms) -> None:
    """Give a tenant its weight."""

    async def work(link: Link) -> bool:
        from supervisor.store import limits

        return await limits.set_weight(
            link, name, weight, reason=agreed.reason, actor=person.actor(), source=person.source()
        )

    changed = _done(work)
    if agreed.as_json:
        show_json({"tenant": name, "weight": weight, "changed": changed, "reason": agreed.reason})
        return
    already = "" if changed else "; it had it before, nothing was changed"
    typer.echo(f"tenant {plain(name)} has weight {weight:g}{already}")
    if changed:
        typer.echo(row("that is", f"{weight:g} turns for each of a tenant without a weight, while both wait"))


def _done(work: Callable[[Link], Awaitable[T]]) -> T:
    from supervisor.config import load

    async def guarded(session: DatabaseSession) -> T:
        try:
            return await work(session.link)
        except (StatementRefused, DatabaseUnavailable) as error:
            stop_for(error)
            raise

    return with_database(load(), guarded)


def _row(given: Given) -> LimitRow:
    from supervisor.store.limit_rows import LimitRow

    wanted = given.amount
    return LimitRow(
        name=given.name,
        form=cast("LimitForm", wanted.form),
        amount=wanted.amount,
        place=cast("LimitPlace", given.place),
        period_s=wanted.period,
        burst=given.burst,
        unit=cast("LimitUnit | None", wanted.unit),
        zone=given.zone,
        service=given.service,
        kind=given.kind,
        queue=given.queue,
        tenant=given.tenant,
        by=given.per,
        shadow=given.shadow,
        on_spent=cast("OnSpent", given.on_spent),
        fallback=cast("Fallback", given.fallback),
    )


def _say(head: str, agreed: Terms) -> None:
    dry = "dry run, nothing was changed; this would be: " if agreed.dry_run else ""
    typer.echo(styled(f"{dry}{head}", "bold", colours=colours_wanted()))


def _next(wanted: LimitRow) -> None:
    name = plain(wanted.name)
    if wanted.shadow:
        typer.echo(row("next", f"see what it would hold back: {switch_words.PROGRAM} limits status {name}"))
        typer.echo(row("", "then the same without --shadow"))
    else:
        typer.echo(row("next", f"see how much is used: {switch_words.PROGRAM} limits status {name}"))


def _document(name: str, change: LimitChange, agreed: Terms) -> Mapping[str, object]:
    return {
        "limit": name,
        "changed": change.changed,
        "dry_run": agreed.dry_run,
        "epoch": change.epoch,
        "before": None if change.before is None else document(change.before),
        "after": None if change.after is None else document(change.after),
        "reason": agreed.reason,
    }
