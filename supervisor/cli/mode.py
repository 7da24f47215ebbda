"""`mode`: let only some jobs start, those that change nothing or those that are essential."""

from __future__ import annotations

import difflib
from typing import Annotated, Final

import typer

from supervisor.cli.change_options import WAIT, CancelRunning, DryRun, Expires, Json, Reason, Wait, terms
from supervisor.cli.default_command import Status
from supervisor.cli.help_page import Command

MODES: Final = ("normal", "observe_only", "safe_mode")

mode = typer.Typer(cls=Status, rich_markup_mode=None, help="Let only some jobs start, or all.")


@mode.command(cls=Command)
def status(*, as_json: Json = False) -> None:
    """Show the mode (the default)."""
    from supervisor.cli.control_view import show_mode

    show_mode(as_json=as_json)


@mode.command("set", cls=Command)
def set_mode(
    wanted: Annotated[str, typer.Argument(metavar="MODE", help="normal, observe_only or safe_mode.")],
    *,
    reason: Reason = None,
    cancel_running: CancelRunning = False,
    expires: Expires = None,
    dry_run: DryRun = False,
    wait: Wait = WAIT,
    as_json: Json = False,
) -> None:
    """Set the mode, on all hosts.

    observe_only starts only jobs declared with changes=False, safe_mode only those with essential=True. What runs
    goes on, unless --cancel-running. Exit codes: 0 all live workers have confirmed; 1 the mode is set, and
    some have not confirmed yet; 69 the database is out of reach, try again.
    """
    value = wanted.strip().lower().replace("-", "_")
    if value not in MODES:
        close = difflib.get_close_matches(value, MODES, n=1)
        meant = f"did you mean {close[0]}?" if close else f"the modes are {', '.join(MODES)}"
        raise typer.BadParameter(f"{wanted!r} is no mode; {meant}", param_hint="MODE")
    if value == "normal" and (cancel_running or expires is not None):
        raise typer.BadParameter("--cancel-running and --expires do not go with normal: everything may run then")
    agreed = terms(
        reason=reason,
        cancel_running=cancel_running,
        expires=expires,
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
    )
    from supervisor.cli.control_change import Wanted, change
    from supervisor.store.control import Scope

    change(Wanted(scope=Scope.MODE, name=None, value=value), agreed)
