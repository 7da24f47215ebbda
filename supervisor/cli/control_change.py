"""Changes a switch: writes it, stops what runs if that is wanted, and waits for the workers to confirm."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import person
from supervisor.cli.database_session import leave, with_database
from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from supervisor.cli.change_options import Terms
    from supervisor.cli.database_session import DatabaseSession
    from supervisor.store.control import Change, Confirmation, Scope, Switches
    from supervisor.store.link import Link

UNCONFIRMED: Final = 1
"""The exit code when the switch is set, and not every worker has said so in time."""

LEAST_WAIT: Final = 2.0
"""Seconds that the command helps to stop what runs, also if it does not wait for the workers."""

USUAL: Final = 10.0
LOOK: Final = 3.0
"""Seconds for a change, which may have to wait for a lock, and for a look at what runs."""

# What our functions answer to a wrong argument, and SQL to a value that no column takes.
_WRONG: Final = ("22", "23514", "SV")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a command wants of a switch: `value` is whether it is off, or the mode."""

    scope: Scope
    name: str | None
    value: bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of it.

    `effect` is what a dry run says, or after a change that stops something: what runs on. `cancelled` counts the
    running jobs that were stopped, None if that was not asked for or some may be left. `confirmation` is None for a
    dry run. `hints` are names that may have been meant, None if the name is known or cannot be.
    """

    wanted: Wanted
    terms: Terms
    change: Change
    effect: Change | None
    switches: Switches
    now: datetime
    expires_at: datetime | None
    cancelled: int | None
    confirmation: Confirmation | None
    hints: Sequence[str] | None

    @property
    def stops(self) -> bool:
        """Whether it is a change that stops something."""
        return self.wanted.value not in {False, "normal"}


def change(wanted: Wanted, terms: Terms) -> None:
    """Do it and say what happened, with exit code 1 if not every live worker has confirmed within the wait."""
    from supervisor.cli.control_report import show_outcome
    from supervisor.config import load

    async def work(session: DatabaseSession) -> Outcome:
        return await _changed(session.link, wanted, terms)

    outcome = with_database(load(), work)
    show_outcome(outcome)
    found = outcome.confirmation
    if found is not None and terms.wait and found.missing:
        raise typer.Exit(UNCONFIRMED)


def stop_for(error: StatementRefused | DatabaseUnavailable) -> None:
    """Leave if an error says that the command was wrong, or that nobody knows whether it was carried out."""
    match error:
        case StatementRefused() if error.sqlstate.startswith(_WRONG):
            leave(ExitCode.USAGE, error.message + (f"\n  {error.hint}" if error.hint else ""))
        case DatabaseUnavailable(unknown=True):
            leave(
                ExitCode.NO_START,
                f"{error}\n  it is not known whether this was carried out; run it again: what is set already stays so",
            )
        case _:
            pass


async def _changed(link: Link, wanted: Wanted, terms: Terms) -> Outcome:
    from supervisor.store import control, job_listing

    now = await job_listing.now(link)
    expires_at = terms.expires_at(now)

    async def make(*, dry_run: bool, within: float = USUAL) -> Change:
        return await control.change_switch(
            link,
            wanted.scope,
            wanted.name,
            wanted.value,
            reason=terms.reason,
            actor=person.actor(),
            source=person.source(),
            cancel_running=terms.cancel_running,
            expires_at=expires_at,
            dry_run=dry_run,
            within=within,
        )

    try:
        made = await make(dry_run=terms.dry_run)
    except (StatementRefused, DatabaseUnavailable) as error:
        stop_for(error)
        raise
    began = time.monotonic()
    cancels = terms.cancel_running and not terms.dry_run
    cancelled = await control.stopped(link, made.epoch, max(terms.wait, LEAST_WAIT)) if cancels else None
    confirmation = None
    if not terms.dry_run:
        left = max(terms.wait - (time.monotonic() - began), 0.0)
        found = await control.confirmed(link, made.epoch, left)
        confirmation = replace(found, seconds=time.monotonic() - began)
    outcome = Outcome(
        wanted=wanted,
        terms=terms,
        change=made,
        effect=made if terms.dry_run else None,
        cancelled=cancelled,
        confirmation=confirmation,
        switches=await control.read(link),
        now=now,
        expires_at=expires_at,
        hints=await _hints(link, wanted),
    )
    if not outcome.stops or terms.dry_run or cancels:
        return outcome
    try:
        return replace(outcome, effect=await make(dry_run=True, within=LOOK))
    except DatabaseUnavailable:  # the change is made and confirmed; how much runs on is only good to know
        return outcome


async def _hints(link: Link, wanted: Wanted) -> Sequence[str] | None:
    """Look whether anybody knows the name that is switched off: a mistyped one stops nothing."""
    import difflib

    from supervisor.store import kinds

    attribute = {"service": "service", "queue": "queue", "kind": "kind"}.get(wanted.scope.value)
    if attribute is None or wanted.value is not True or wanted.name is None:
        return None
    known = {str(getattr(kind, attribute)) for kind in await kinds.listed(link)}
    return None if wanted.name in known else difflib.get_close_matches(wanted.name, sorted(known), n=3)
