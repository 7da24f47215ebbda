"""`run`: start an application and keep it running until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from supervisor.cli.help_page import Command
from supervisor.errors import ConfigError
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

    from supervisor.config import Config
    from supervisor.tree.supervisor import Supervisor

_Text: TypeAlias = str | None
_Switch: TypeAlias = bool | None

_OF_EVERY_APP: Final = frozenset(
    {"app", "config", "name", "shutdown_timeout", "loop_block_warn", "loop_block_limit", "log_level", "log_format"}
    | {"runtime_dir", "trace_messages"}
)


class Run(Command):
    """The command, with the exit codes at the end of its help page."""

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - typer's signature
        """Write what each exit code means."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in ExitCode])


def _refuse_secret(value: str | None) -> None:
    if value is not None:
        raise typer.BadParameter(
            "every user of this machine can read a command line: set DATABASE_URL (SUPERVISOR_DIRECT_DATABASE_URL) in "
            "the environment, or database_url (direct_database_url) in supervisor.toml"
        )


_Secret: TypeAlias = Annotated[_Text, typer.Option(hidden=True, callback=_refuse_secret)]


def run(
    *,
    app: Annotated[_Text, typer.Option(metavar="MODULE:NAME", help="The application to run, as in shop:app.")] = None,
    config: Annotated[_Text, typer.Option(metavar="FILE", help="The settings [supervisor.toml, if it exists].")] = None,
    name: Annotated[_Text, typer.Option(metavar="NAME", help="Name in logs, and for the tree command.")] = None,
    concurrency: Annotated[_Text, typer.Option(metavar="N", help="How many jobs run at once [100].")] = None,
    threads: Annotated[
        _Text, typer.Option(metavar="N", help="How many of them may be plain functions, in threads [32].")
    ] = None,
    queues: Annotated[_Text, typer.Option(metavar="A,B", help="Only these queues [all of the app].")] = None,
    until_empty: Annotated[
        _Switch, typer.Option("--until-empty/--no-until-empty", help="End when no job is left to run [off].")
    ] = None,
    migrate: Annotated[
        _Switch, typer.Option("--migrate/--no-migrate", help="Bring the database's schema up to date first [on].")
    ] = None,
    schema: Annotated[_Text, typer.Option(metavar="NAME", help="The database's schema [supervisor].")] = None,
    data_dir: Annotated[
        _Text, typer.Option(metavar="DIR", help="Folder of the process's own PostgreSQL, if no database is named.")
    ] = None,
    pg_bindir: Annotated[_Text, typer.Option(metavar="DIR", help="The programs of that PostgreSQL.")] = None,
    database_wait: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="Wait so long for a database that is not there yet [60].")
    ] = None,
    drain_timeout: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="How long jobs may go on at a stop [30].")
    ] = None,
    lease: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="How long a silent process keeps its jobs [30].")
    ] = None,
    heartbeat: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="How often a process renews its lease [10].")
    ] = None,
    poll: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="Look for jobs so often without being told [1].")
    ] = None,
    idle_poll: Annotated[
        _Text, typer.Option(metavar="SECONDS", help="The same after a minute without jobs [5].")
    ] = None,
    max_losses: Annotated[
        _Text, typer.Option(metavar="N", help="Put away a job that so many processes died with [3].")
    ] = None,
    quarantine: Annotated[
        _Switch,
        typer.Option(
            "--quarantine/--no-quarantine", help="Run jobs that a process died with in one of their own [on]."
        ),
    ] = None,
    singleton: Annotated[
        _Text, typer.Option(metavar="NAME", help="Work only while no other process with this name does.")
    ] = None,
    singleton_wait: Annotated[
        _Switch,
        typer.Option("--singleton-wait/--no-singleton-wait", help="Stand by until then, or leave with code 69 [on]."),
    ] = None,
    http: Annotated[_Switch, typer.Option("--http/--no-http", help="Answer HTTP [on].")] = None,
    http_host: Annotated[_Text, typer.Option(metavar="ADDRESS", help="Where to answer it [127.0.0.1].")] = None,
    http_port: Annotated[_Text, typer.Option(metavar="PORT", help="At which port [8420]; 0: any that is free.")] = None,
    http_tokens: Annotated[
        _Switch, typer.Option("--http-tokens/--no-http-tokens", help="Ask for tokens on this machine too [off].")
    ] = None,
    http_hosts: Annotated[_Text, typer.Option(metavar="A,B", help="Further names to answer to.")] = None,
    http_rate: Annotated[
        _Text, typer.Option(metavar="N", help="Requests a second of one caller [1000]; 0: no limit.")
    ] = None,
    history_days: Annotated[_Text, typer.Option(metavar="DAYS", help="Keep ended jobs so long [14].")] = None,
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
        _Switch, typer.Option("--trace-messages/--no-trace-messages", help="Trace every message [off].")
    ] = None,
    database_url: _Secret = None,
    direct_database_url: _Secret = None,
) -> None:
    """Run an application until it is told to stop.

    Settings come from the file, then from SUPERVISOR_<NAME> in the environment, then from these
    options. SECONDS may be written as 500ms, 90s or 5m.

    The database is named by DATABASE_URL, or by database_url in the file, and by no option: other
    users can read a command line. Without it, an app with jobs starts a PostgreSQL of its own.
    """
    flags = {name: value for name, value in locals().items() if value is not None}
    from supervisor.config import load

    settings = load(flags=flags)
    if settings.app is None:
        raise ConfigError(
            "app is not set: there is nothing to run\n"
            "  remedy: give --app module:name, as in --app shop:app, or set SUPERVISOR_APP, or app in supervisor.toml"
        )
    root = _root(settings.app, settings, flags)
    from supervisor.process.runner import run as run_tree

    raise typer.Exit(run_tree(root, settings))


def _root(name: str, settings: Config, flags: Mapping[str, object]) -> Supervisor:
    """Return the tree of the application; one without jobs needs nothing but its own actors."""
    from supervisor.cli.load_app import load_app

    app = load_app(name)
    if len(app.catalog):
        from supervisor.cli.job_tree import job_tree

        return job_tree(app, settings)
    if vain := sorted(set(flags) - _OF_EVERY_APP):
        options = ", ".join(f"--{'' if flags[name] else 'no-'}{name.replace('_', '-')}" for name in vain)
        raise ConfigError(
            f"app = {name!r}: it has no jobs, and {options} is about jobs\n"
            f"  remedy: declare them, as in App(jobs=[send_welcome]), or leave {options} out"
        )
    return app.root
