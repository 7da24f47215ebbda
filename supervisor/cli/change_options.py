"""The options that every change of a switch or limit has: why, for how long, with what, and how long to wait."""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from supervisor.cli import times
from supervisor.cli.database_session import leave
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_REASON: Final = 500
"""Characters of a reason, so that it fits a screen and a chat."""

MOST_NAME: Final = 128
"""Characters of the name of a service, tenant, queue or kind; the database has the same bound."""

_LONGEST_WAIT: Final = 600.0
_Text: TypeAlias = str | None

Reason: TypeAlias = Annotated[_Text, typer.Option(metavar="TEXT", help="Why; kept in the audit log.")]
CancelRunning: TypeAlias = Annotated[
    bool, typer.Option("--cancel-running", help="Also stop what runs; it costs no attempt.")
]
Expires: TypeAlias = Annotated[
    _Text, typer.Option(metavar="TIME", help="Turn back by itself: after 90s, 5m, 2h, or at 2026-05-01T09:00Z.")
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what it would stop.")]
Wait: TypeAlias = Annotated[
    str, typer.Option(metavar="SECONDS", help="Wait so long for the workers to confirm; 0 for not.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
WAIT: Final = "5s"
"""How long a change waits for the workers, if the command does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a change is to be made. `expires` is a moment, or seconds from now; `wait` is in seconds."""

    reason: str
    cancel_running: bool = False
    expires: datetime | float | None = None
    dry_run: bool = False
    wait: float = 5.0
    as_json: bool = False

    def expires_at(self, now: datetime) -> datetime | None:
        """Return when it turns back, by the clock of the database, or leave: a moment that is over is a mistake."""
        if self.expires is None or isinstance(self.expires, datetime):
            if self.expires is not None and self.expires <= now:
                gone = times.relative(self.expires, now)
                leave(ExitCode.USAGE, f"--expires: {times.absolute(self.expires)} is over ({gone}); give a later time")
            return self.expires
        return now + timedelta(seconds=self.expires)


def terms(
    *,
    reason: str | None,
    cancel_running: bool = False,
    expires: str | None = None,
    dry_run: bool = False,
    wait: str = WAIT,
    as_json: bool = False,
) -> Terms:
    """Check the options of a change; a reason that is missing is asked for on a terminal, and else demanded."""
    until = None if expires is None else _expiry(expires)
    seconds = _named("--wait", lambda: times.duration(wait))
    if seconds > _LONGEST_WAIT:
        raise typer.BadParameter(f"{wait!r} is more than {_LONGEST_WAIT:.0f} s; ask again later", param_hint="--wait")
    return Terms(
        reason=_reason(reason, asks=not as_json, is_needed=not dry_run),
        cancel_running=cancel_running,
        expires=until,
        dry_run=dry_run,
        wait=seconds,
        as_json=as_json,
    )


def checked_name(name: str, what: str) -> str:
    """Check the name of a service, tenant, queue or kind, before anything is asked of the database."""
    if not name or len(name) > MOST_NAME:
        raise typer.BadParameter(f"{what} has {len(name)} characters: it must have 1 to {MOST_NAME}", param_hint="NAME")
    if _cannot_be_shown(name):
        raise typer.BadParameter(
            f"{what} {name!r} has a character that cannot be shown; leave it out", param_hint="NAME"
        )
    return name


def _cannot_be_shown(text: str) -> bool:
    """Whether it has control characters, or bytes that are no UTF-8."""
    return any(unicodedata.category(char) in {"Cc", "Cs"} for char in text)


def _expiry(text: str) -> datetime | float:
    def read() -> datetime | float:
        found = times.moment_or_age(text)
        if found == 0:
            raise typer.BadParameter("0 is no time to be off; leave --expires out for no end")
        return found

    return _named("--expires", read)


def _named(option: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=option) from None


def _reason(given: str | None, *, asks: bool, is_needed: bool) -> str:
    if given is None and not is_needed:
        return "dry run"
    if given is None and asks and sys.stdin.isatty() and sys.stderr.isatty():
        given = typer.prompt("Why? A few words for the audit log and for whoever is on call next", err=True)
    if given is None or not given.strip():
        raise typer.BadParameter(
            "say why in a few words: it goes into the audit log, for whoever is on call next; "
            "as in --reason 'orders are charged twice'",
            param_hint="--reason",
        )
    reason = given.strip()
    if len(reason) > MOST_REASON:
        raise typer.BadParameter(
            f"it has {len(reason)} characters; {MOST_REASON} are enough, put the rest where the incident is written up",
            param_hint="--reason",
        )
    if _cannot_be_shown(reason):
        raise typer.BadParameter(f"{reason!r} is not one line of plain text; write it as one", param_hint="--reason")
    return reason
