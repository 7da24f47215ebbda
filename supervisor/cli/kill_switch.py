"""`kill-switch`: stop every start of a job, on all hosts, and see what is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from supervisor.cli.change_options import WAIT, CancelRunning, DryRun, Expires, Json, Reason, Wait, terms
from supervisor.cli.default_command import Status
from supervisor.cli.help_page import Command

if TYPE_CHECKING:
    from supervisor.cli.change_options import Terms

kill_switch = typer.Typer(cls=Status, rich_markup_mode=None, help="Stop all jobs everywhere; show all that is off.")


@kill_switch.command(cls=Command)
def status(*, as_json: Json = False) -> None:
    """Show the kill switch and all else that is off (the default).

    With who did it, why and until when, and which workers have confirmed the last change.
    """
    from supervisor.cli.control_view import show_status

    show_status(as_json=as_json)


@kill_switch.command(cls=Command)
def activate(
    *,
    reason: Reason = None,
    cancel_running: CancelRunning = False,
    expires: Expires = None,
    dry_run: DryRun = False,
    wait: Wait = WAIT,
    as_json: Json = False,
) -> None:
    """Start no job on any host.

    It holds when the command comes back, also on hosts that are cut off: each claim reads the switch. What
    runs goes on, unless --cancel-running. Exit codes: 0 all live workers have confirmed; 1 the switch is
    set, and some have not confirmed yet; 69 the database is out of reach, try again.
    """
    agreed = terms(
        reason=reason,
        cancel_running=cancel_running,
        expires=expires,
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
    )
    _turn(agreed, on=True)


@kill_switch.command(cls=Command)
def deactivate(*, reason: Reason = None, dry_run: DryRun = False, wait: Wait = WAIT, as_json: Json = False) -> None:
    """Let jobs start again.

    What else is off stays off. Exit codes as for `activate`.
    """
    _turn(terms(reason=reason, dry_run=dry_run, wait=wait, as_json=as_json), on=False)


def _turn(agreed: Terms, *, on: bool) -> None:
    from supervisor.cli.control_change import Wanted, change
    from supervisor.store.control import Scope

    change(Wanted(scope=Scope.KILL_SWITCH, name=None, value=on), agreed)
