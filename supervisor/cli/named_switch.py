"""Makes the commands that turn something with a name off and on: services, tenants, queues and kinds have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from supervisor.cli.change_options import (
    WAIT,
    CancelRunning,
    DryRun,
    Expires,
    Json,
    Reason,
    Wait,
    checked_name,
    terms,
)
from supervisor.cli.help_page import Command

if TYPE_CHECKING:
    from supervisor.cli.change_options import Terms

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="Its name, as jobs carry it.")]


def add_switch(group: typer.Typer, scope: str, off: str, on: str) -> None:
    """Add two commands to a group, as `pause` and `resume`."""

    @group.command(
        off,
        cls=Command,
        help=f"""Start no job of a {scope}, on any host.

        It holds when the command comes back, also on hosts that are cut off: each claim reads the switch. What
        runs goes on, unless --cancel-running. Exit codes: 0 all live workers have confirmed; 1 it is off, and
        some have not confirmed yet; 69 the database is out of reach, try again.
        """,
    )
    def turn_off(
        name: Name,
        *,
        reason: Reason = None,
        cancel_running: CancelRunning = False,
        expires: Expires = None,
        dry_run: DryRun = False,
        wait: Wait = WAIT,
        as_json: Json = False,
    ) -> None:
        checked_name(name, scope)
        agreed = terms(
            reason=reason,
            cancel_running=cancel_running,
            expires=expires,
            dry_run=dry_run,
            wait=wait,
            as_json=as_json,
        )
        _turn(scope, name, agreed, off=True)

    @group.command(
        on,
        cls=Command,
        help=f"""Let the jobs of a {scope} start again.

        Those that waited come first, in their order. Exit codes as for `{off}`.
        """,
    )
    def turn_on(
        name: Name, *, reason: Reason = None, dry_run: DryRun = False, wait: Wait = WAIT, as_json: Json = False
    ) -> None:
        checked_name(name, scope)
        _turn(scope, name, terms(reason=reason, dry_run=dry_run, wait=wait, as_json=as_json), off=False)


def add_looks(group: typer.Typer, scope: str) -> None:
    """Add the commands that only look: `list`, the default of such a group, and `status NAME`."""

    @group.command("list", cls=Command, help=f"Show each {scope} and whether its jobs may start (the default).")
    def show_all(*, as_json: Json = False) -> None:
        from supervisor.cli.control_view import show_names

        show_names(scope, as_json=as_json)

    @group.command("status", cls=Command, help=f"Say whether jobs of a {scope} may start, and what forbids it.")
    def show_one(name: Name, *, as_json: Json = False) -> None:
        from supervisor.cli.control_view import show_name

        show_name(scope, checked_name(name, scope), as_json=as_json)


def _turn(scope: str, name: str, agreed: Terms, *, off: bool) -> None:
    from supervisor.cli.control_change import Wanted, change
    from supervisor.store.control import Scope

    change(Wanted(scope=Scope(scope), name=name, value=off), agreed)
