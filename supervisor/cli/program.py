"""Puts the commands together, and turns whatever goes wrong into a message and an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.main import get_command

from supervisor.cli.audit import audit
from supervisor.cli.enqueue import enqueue
from supervisor.cli.help_page import Command, Group
from supervisor.cli.jobs import jobs
from supervisor.cli.kill_switch import kill_switch
from supervisor.cli.kind import kind
from supervisor.cli.limits import limits
from supervisor.cli.migrate import migrate
from supervisor.cli.mode import mode
from supervisor.cli.queue import queue
from supervisor.cli.run import Run, run
from supervisor.cli.service import service
from supervisor.cli.tenant import tenant
from supervisor.cli.tokens import tokens
from supervisor.cli.tree import tree
from supervisor.cli.workers import workers
from supervisor.errors import ConfigError
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "python -m supervisor"
_OF_ITS_OWN: Final = frozenset({"-h", "--help", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _OF_ITS_OWN):
        arguments.insert(0, "run")
    try:
        get_command(_program())(arguments, prog_name=PROGRAM)
    except ConfigError as error:
        typer.echo(f"supervisor: {error}", err=True)
        return ExitCode.CONFIG
    except SystemExit as end:
        if isinstance(end.code, str):
            raise  # somebody's last words, which Python prints
        return end.code or ExitCode.CLEAN
    return ExitCode.CLEAN


def _program() -> typer.Typer:
    # Rich would draw prettier boxes, and take longer for it than all the rest of `--help`.
    program = typer.Typer(
        cls=Group,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        epilog=f"`run` is the default: {PROGRAM} --app shop:app",
    )
    program.callback()(_options)
    program.command(cls=Run)(run)
    program.command(cls=Command)(tree)
    program.command(cls=Command)(migrate)
    program.command(cls=Command)(enqueue)
    program.add_typer(jobs, name="jobs")
    program.add_typer(queue, name="queue")
    program.add_typer(kill_switch, name="kill-switch")
    program.add_typer(mode, name="mode")
    program.add_typer(service, name="service")
    program.add_typer(tenant, name="tenant")
    program.add_typer(kind, name="kind")
    program.add_typer(limits, name="limits")
    program.add_typer(audit, name="audit")
    program.add_typer(tokens, name="tokens")
    program.add_typer(workers, name="workers")
    return program


def _version(asked: bool) -> None:
    if not asked:
        return
    from importlib import metadata

    try:
        version = metadata.version("supervisor-runtime")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    typer.echo(f"supervisor-runtime {version}")
    raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Run jobs and actors under supervision, and look at them while they run."""
