"""`migrate`: bring the database's schema to what this release needs, or say how far it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from supervisor.errors import ConfigError, MigrationError
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.config import Config
    from supervisor.store.migrate import Entry, Progress, Report, Status

_COLOURS: Final = {"applied": "green", "pending": "yellow", "unfinished": "yellow"}


class Action(StrEnum):
    """What to do."""

    STATUS = "status"
    UP = "up"
    VERIFY = "verify"


def migrate(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="up (the default), status or verify.")] = Action.UP,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With up: do it in one transaction, and undo it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Bring the schema of the database to what this release needs.

    `status` lists every migration, and `verify` succeeds only if there is nothing to do. The database is the one that
    DATABASE_URL names. Exit codes: 0 done; 69 the database is out of reach or busy, try again; 78 something has to be
    put right first.
    """
    if dry_run and action is not Action.UP:
        raise typer.BadParameter(f"--dry-run goes with `up`; `{action}` changes nothing anyway")
    from supervisor.config import load

    settings = load()
    code = migrate_database(_url(settings), action, schema=settings.schema, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(code)


def migrate_database(
    url: str, action: Action, *, schema: str = "supervisor", dry_run: bool = False, as_json: bool = False
) -> ExitCode:
    """Do it to the database of this URL, and return the exit code. Raises ConfigError for a URL that cannot be."""
    import asyncio

    from supervisor.store.migrate import status, up, verify

    try:
        if action is Action.UP:
            _show_report(asyncio.run(up(url, schema=schema, dry_run=dry_run, progress=_show_progress)), as_json=as_json)
            return ExitCode.CLEAN
        found = asyncio.run(status(url, schema=schema) if action is Action.STATUS else verify(url, schema=schema))
    except MigrationError as error:
        typer.echo(f"supervisor: {error}", err=True)
        return ExitCode.NO_START if error.transient else ExitCode.CONFIG
    _show_status(found, as_json=as_json)
    return ExitCode.CONFIG if found.problems else ExitCode.CLEAN


def _url(settings: Config) -> str:
    """Find the URL: the direct one first, for migrations cannot go through a transaction pooler."""
    url = settings.direct_database_url or settings.database_url
    if url is None:
        raise ConfigError(
            "database_url is not set: there is nothing to migrate\n"
            "  remedy: set DATABASE_URL, as in postgresql://user@host/database; a process that starts its own "
            "PostgreSQL migrates it by itself"
        )
    return url.reveal()


def _show_progress(progress: Progress) -> None:
    match progress.step.value:
        case "waiting":
            typer.echo(f"waiting for another migration: {progress.about}", err=True)
        case "started":
            typer.echo(f"running {progress.about}", err=True)
        case _:
            pass


def _show_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        applied = [
            {"version": one.version, "name": one.name, "execution_time_ms": one.execution_time_ms}
            for one in report.applied
        ]
        _show_json({"schema": report.schema, "dry_run": report.dry_run, "applied": applied})
        return
    for one in report.applied:
        took = "syntax checked only" if one.execution_time_ms is None else f"{one.execution_time_ms} ms"
        typer.echo(f"{one.version:03}_{one.name}  {took}")
    done = "would be applied" if report.dry_run else "applied"
    typer.echo(f"{len(report.applied)} {done}" if report.applied else "nothing to do")


def _show_status(found: Status, *, as_json: bool) -> None:
    if as_json:
        entries = [_as_json(entry) for entry in found.entries]
        facts = {"version": found.version, "pending": len(found.pending), "problems": found.problems}
        _show_json({"schema": found.schema, **facts, "migrations": entries})
        return
    rows = [("migration", "state", "applied (UTC)", "took", "by"), *map(_row, found.entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        cells[1] = typer.style(cells[1], bold=True) if number == 0 else _coloured(cells[1])
        typer.echo("  ".join(cells).rstrip())
    typer.echo(f"schema {found.schema}: version {found.version:03}, {len(found.pending)} pending")
    for problem in found.problems:
        typer.echo(f"supervisor: {problem}", err=True)


def _row(entry: Entry) -> tuple[str, str, str, str, str]:
    record = entry.record
    if record is None or record.applied_at is None or record.execution_time_ms is None:
        return entry.label, entry.state, "", "", ""
    when = f"{record.applied_at:%Y-%m-%d %H:%M:%S}"
    return entry.label, entry.state, when, f"{record.execution_time_ms} ms", record.applied_by


def _coloured(state: str) -> str:
    return typer.style(state, fg=_COLOURS.get(state.rstrip(), "red"))


def _as_json(entry: Entry) -> Mapping[str, object]:
    file, record = entry.file, entry.record
    return {
        "version": entry.version,
        "name": entry.name,
        "state": entry.state,
        "checksum": file.checksum if file else None,
        "recorded_checksum": record.checksum if record else None,
        "applied_at": record.applied_at if record else None,
        "applied_by": record.applied_by if record else None,
        "execution_time_ms": record.execution_time_ms if record else None,
    }


def _show_json(answer: Mapping[str, object]) -> None:
    import orjson

    typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
