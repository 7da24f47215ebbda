"""`run`: start an application and keep it running until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from supervisor.cli.help_page import Command
from supervisor.errors import ConfigError
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

_Text: TypeAlias = str | None


class Run(Command):
    """The command, with the exit codes at the end of its help page."""

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - typer's signature
        """Write what each exit code means."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in ExitCode])


def run(
    *,
    app: Annotated[_Text, typer.Option(metavar="MODULE:NAME", help="The application to run, as in shop:app.")] = None,
    config: Annotated[_Text, typer.Option(metavar="FILE", help="The settings [supervisor.toml, if it exists].")] = None,
    name: Annotated[_Text, typer.Option(metavar="NAME", help="Name in logs, and for the tree command.")] = None,
    shutdown_timeout: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="All the time that a shutdown may take [60].")
    ] = None,
    loop_block_warn: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="Log the stack of an event loop blocked for so long [0.5].")
    ] = None,
    loop_block_limit: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="End the process if blocked for so long [20]; 0: never.")
    ] = None,
    log_level: Annotated[_Text, typer.Option(metavar="LEVEL", help="debug, info, warning or error [info].")] = None,
    log_format: Annotated[
        _Text, typer.Option(metavar="FORMAT", help="human, json or auto: human on a terminal [auto].")
    ] = None,
    runtime_dir: Annotated[_Text, typer.Option(metavar="DIR", help="Folder of the tree command's socket.")] = None,
    trace_messages: Annotated[
        bool | None, typer.Option("--trace-messages/--no-trace-messages", help="Trace every message [off].")
    ] = None,
) -> None:
    """Run an application until it is told to stop.

    Settings come from the file, then from SUPERVISOR_<NAME> in the environment, then from these
    options. SECONDS may be written as 500ms, 90s or 5m.
    """
    from supervisor.cli.load_app import load_app
    from supervisor.config import load

    flags = {
        "app": app,
        "config": config,
        "name": name,
        "shutdown_timeout": shutdown_timeout,
        "loop_block_warn": loop_block_warn,
        "loop_block_limit": loop_block_limit,
        "log_level": log_level,
        "log_format": log_format,
        "runtime_dir": runtime_dir,
        "trace_messages": trace_messages,
    }
    settings = load(flags={flag: value for flag, value in flags.items() if value is not None})
    if settings.app is None:
        raise ConfigError(
            "app is not set: there is nothing to run\n"
            "  remedy: give --app module:name, as in --app shop:app, or set SUPERVISOR_APP, or app in supervisor.toml"
        )
    root = load_app(settings.app).root
    from supervisor.process.runner import run as run_tree

    raise typer.Exit(run_tree(root, settings))
