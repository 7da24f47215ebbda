"""Shows the audit log: its entries, whether it is whole, and all of it for keeping elsewhere."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import typer

from supervisor.cli import switch_words, times
from supervisor.cli.database_session import leave, with_database
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, plain, styled, table, terminal_width
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.store.audit import Anchor, AuditEntry, Verdict

BROKEN: Final = 1
"""The exit code when the record is not whole."""

_AT_ONCE: Final = 1000
_END: Final = re.compile(r"(\d{1,18}):([0-9a-fA-F]{64})")
_COLUMNS: Final = (
    Column("id", right=True),
    Column("when"),
    Column("action", least=12),
    Column("of", least=8),
    Column("by", least=8),
    Column("reason", least=12),
    Column(""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which entries are wanted; None means all. `since` is a moment, or seconds before now."""

    scope: str | None
    name: str | None
    actor: str | None
    since: datetime | float | None
    refused: bool
    most: int


def show_changes(asked: Asked, *, as_json: bool) -> None:
    """Print the newest entries that are wanted, the newest first."""
    from supervisor.config import load

    async def work(session: DatabaseSession) -> tuple[Sequence[AuditEntry], datetime]:
        from supervisor.store import audit, job_listing

        now = await job_listing.now(session.link)
        since = asked.since if isinstance(asked.since, datetime | None) else now - timedelta(seconds=asked.since)
        found = await audit.listed(
            session.link,
            asked.most,
            scope=asked.scope,
            name=asked.name,
            actor=asked.actor,
            since=since,
            accepted=False if asked.refused else None,
        )
        return found, now

    found, now = with_database(load(), work)
    if as_json:
        show_json([_document(entry) for entry in found])
        return
    if not found:
        typer.echo("nothing was changed" if asked == _all(asked) else "no such entry")
        return
    for line in table(_COLUMNS, [_row(one, now) for one in found], width=terminal_width(), colours=colours_wanted()):
        typer.echo(line)
    if len(found) == asked.most:
        typer.echo(f"the newest {asked.most}; --limit shows more")


def show_verdict(against: str | None, *, as_json: bool) -> None:
    """Say whether the record is whole; leave with exit code 1 if it is not."""
    anchor = None if against is None else _anchor(against)
    from supervisor.config import load

    async def work(session: DatabaseSession) -> Verdict:
        from supervisor.store import audit

        return await audit.verify(session.link, anchor=anchor)

    found = with_database(load(), work)
    end = f"{found.end.id}:{found.end.digest.hex()}"
    if as_json:
        show_json(
            {
                "whole": found.is_whole,
                "checked": found.checked,
                "first_bad": found.first_bad,
                "problem": found.problem,
                "end": end,
            }
        )
    elif found.is_whole:
        typer.echo(f"the audit log is {styled('whole', 'green', colours=colours_wanted())}: {_entries(found.checked)}")
        typer.echo(f"  its end, to be noted elsewhere for --against: {end}")
    if found.is_whole:
        return
    if as_json:
        raise typer.Exit(BROKEN)
    leave(
        BROKEN,
        f"the audit log is not whole: {found.problem}\n"
        "  remedy: compare it with the last export, and find out who could write to the database as its owner",
    )


def _anchor(text: str) -> Anchor:
    """Read the end of an earlier look: as `verify` printed it, or the last line of an export."""
    import orjson

    from supervisor.store.audit import Anchor

    found = _END.fullmatch(text.strip())
    if found is not None:
        return Anchor(int(found[1]), bytes.fromhex(found[2]))
    path = Path(text)
    try:
        lines = path.read_bytes().splitlines()
        last = orjson.loads(lines[-1])
        return Anchor(int(last["id"]), bytes.fromhex(last["digest"]))
    except OSError as error:
        problem = f"{text!r} is neither an end as `audit verify` prints it nor a file: {error.strerror}"
    except (IndexError, KeyError, TypeError, ValueError):
        problem = f"{path} is no export: its last line is not an entry with its digest"
    raise typer.BadParameter(problem, param_hint="--against")


def export_changes(to: Path | None) -> None:
    """Write all entries as lines of JSON, to a new file or the standard output."""
    if to is None:
        _export(sys.stdout.buffer)
        return
    try:
        file = to.open("xb")
    except FileExistsError:
        leave(ExitCode.USAGE, f"--to: {to} is there already; name a new file")
    except OSError as error:
        leave(ExitCode.USAGE, f"--to: cannot write {to}: {error.strerror}")
    with file:
        count = _export(file)
    typer.echo(f"wrote {_entries(count)} to {to}")


def _export(file: IO[bytes]) -> int:
    import orjson

    from supervisor.config import load

    async def work(session: DatabaseSession) -> int:
        from supervisor.store import audit

        count, last = 0, 0
        while found := await audit.exported(session.link, last, _AT_ONCE):
            for entry in found:
                file.write(orjson.dumps({**_document(entry), "digest": entry.digest.hex()}) + b"\n")
            count, last = count + len(found), found[-1].id
        file.flush()
        return count

    return with_database(load(), work)


def _row(entry: AuditEntry, now: datetime) -> list[Cell | str]:
    refused = Cell("" if entry.accepted else "refused", "red")
    title = switch_words.title(entry.scope or "", entry.name if entry.scope not in {"mode", "kill_switch"} else None)
    if entry.scope == "mode":
        title = f"{_said(entry.before)} → {_said(entry.after)}"
    return [
        str(entry.id),
        times.relative(entry.created_at, now),
        entry.action_type,
        title,
        entry.actor,
        entry.reason or "",
        refused,
    ]


def _said(state: Mapping[str, object] | None) -> str:
    return plain(str((state or {}).get("value", "?")))


def _entries(count: int) -> str:
    return f"{count:,} entries" if count != 1 else "1 entry"


def _all(asked: Asked) -> Asked:
    return Asked(scope=None, name=None, actor=None, since=None, refused=False, most=asked.most)


def _document(entry: AuditEntry) -> Mapping[str, object]:
    return {
        "id": entry.id,
        "created_at": times.absolute(entry.created_at),
        "action_type": entry.action_type,
        "scope": entry.scope,
        "name": entry.name,
        "actor": entry.actor,
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
        "accepted": entry.accepted,
        "source": entry.source,
        "request_id": entry.request_id,
        "epoch": entry.epoch,
    }
