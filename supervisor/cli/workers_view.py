"""Shows workers: a line for each, or all about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import times
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, counted, plain, styled, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from supervisor.store.fleet import Alert, Fleet, WorkerRow

RESCUE: Final = 1.5
"""Seconds after the end of a lease within which the next look for silent workers comes."""

# The type is left out of what is usual, and the epoch where all have confirmed the latest one.
_COLUMNS: Final = (
    Column("id", right=True),
    Column("host", least=8),
    Column("pid", right=True),
    Column("status"),
    Column("singleton", least=8),
    Column("version", least=10),
    Column("uptime", right=True),
    Column("running", right=True),
    Column("heard of", right=True),
    Column("type"),
    Column("epoch", right=True),
)
_STATUS: Final[Mapping[str, str]] = {
    "STARTING": "yellow",
    "RUNNING": "green",
    "STOPPING": "yellow",
    "LOST": "red",
}


def show_workers(found: Fleet, alerts: Sequence[Alert], *, as_json: bool) -> None:
    """Print the workers, and what is wrong among them."""
    if as_json:
        show_json(
            {
                "at": times.absolute(found.now),
                "epoch": found.epoch,
                "workers": [document(row) for row in found.workers],
                "alerts": [
                    {
                        "alert": alert.alert,
                        "subject": alert.subject,
                        "since": times.absolute(alert.since),
                        "detail": alert.detail,
                    }
                    for alert in alerts
                ],
            }
        )
        return
    colours = colours_wanted()
    if found.workers:
        rows = [_row(row, found) for row in found.workers]
        for line in table(_COLUMNS, rows, width=terminal_width(), colours=colours):
            typer.echo(line)
    else:
        typer.echo("no workers: start one with python -m supervisor --app module:name")
    for alert in alerts:
        what = alert.alert.replace("_", " ")
        since = "" if alert.since is None else f", since {times.relative(alert.since, found.now)}"
        typer.echo(f"{styled('warning', 'yellow', colours=colours)}: {what}: {plain(alert.detail)}{since}")


def show_worker(found: Fleet, *, as_json: bool) -> None:
    """Print all about the one worker that was found."""
    (row,) = found.workers
    if as_json:
        show_json({"at": times.absolute(found.now), "epoch": found.epoch, **document(row)})
        return
    colours = colours_wanted()
    facts = list(_facts(row, found))
    width = max(len(name) for name, _ in facts)
    for name, cell in facts:
        typer.echo(f"{name:<{width}}  {styled(plain(cell.text), cell.colour, colours=colours)}")


def document(row: WorkerRow) -> Mapping[str, object]:
    """Return a worker for programs; seconds where the name ends in `_s`."""
    return {
        "id": row.id,
        "name": row.name,
        "host": row.host,
        "pid": row.pid,
        "type": row.worker_type,
        "status": row.status,
        "singleton": row.singleton,
        "singletons": list(row.singletons),
        "version": row.version,
        "drifts": row.drifts,
        "started_at": times.absolute(row.started_at),
        "last_heartbeat_at": times.absolute(row.last_heartbeat_at),
        "lease_expires_at": times.absolute(row.lease_expires_at),
        "stopping_at": times.absolute(row.stopping_at),
        "stopped_at": times.absolute(row.stopped_at),
        "uptime_s": row.uptime,
        "silent_s": row.silent,
        "longest_gap_s": row.longest_gap,
        "heartbeats": row.heartbeats,
        "running": row.running,
        "confirmed_epoch": row.confirmed_epoch,
        "metadata": row.metadata,
    }


def _row(row: WorkerRow, found: Fleet) -> list[Cell | str]:
    live = row.silent is not None
    return [
        str(row.id),
        row.host,
        str(row.pid),
        _status(row),
        ", ".join(filter(None, [row.singleton, *row.singletons])),
        _version(row),
        times.short(row.uptime),
        str(row.running) if live else "",
        times.relative(row.last_heartbeat_at, found.now),
        "" if row.worker_type == "worker" else row.worker_type,
        _epoch(row, found) if live and row.confirmed_epoch < found.epoch else "",
    ]


def _facts(row: WorkerRow, found: Fleet) -> Iterator[tuple[str, Cell]]:
    def fact(name: str, value: object, colour: str | None = None) -> tuple[str, Cell]:
        return name, Cell(str(value), colour)

    yield fact("worker", f"{row.id}, {row.name}")
    yield "status", _status(row)
    yield fact("runs as", f"{row.worker_type}, pid {row.pid} on {row.host}")
    yield "version", _version(row)
    for name in ("python", "platform", "arch"):
        if name in row.metadata:
            yield fact(name, row.metadata[name])
    queues = row.metadata.get("queues")
    if isinstance(queues, list) and queues:
        yield fact("queues", ", ".join(map(str, queues)))
    if row.singleton is not None:
        yield fact("singleton", row.singleton)
    if row.singletons:
        yield fact("runs alone", ", ".join(row.singletons))
    yield fact("started", times.relative(row.started_at, found.now))
    beats = f"{counted(row.heartbeats, 'heartbeat')}, the longest gap {times.short(row.longest_gap)}"
    yield fact("last heard of", f"{times.relative(row.last_heartbeat_at, found.now)}; {beats}")
    if row.silent is None:
        yield fact("ended", times.relative(row.stopped_at or row.last_heartbeat_at, found.now))
        return
    yield fact("runs", f"{counted(row.running, 'job')} as of its last heartbeat")
    left = (row.lease_expires_at - found.now).total_seconds() + RESCUE
    yield fact("if it is silent", f"its jobs run elsewhere in {times.short(left)}")
    yield "epoch", _epoch(row, found)


def _status(row: WorkerRow) -> Cell:
    return Cell(row.status, _STATUS.get(row.status))


def _version(row: WorkerRow) -> Cell:
    return Cell(f"{row.version} !", "yellow") if row.drifts else Cell(row.version)


def _epoch(row: WorkerRow, found: Fleet) -> Cell:
    behind = row.confirmed_epoch < found.epoch
    return Cell(
        f"{row.confirmed_epoch}/{found.epoch}" if behind else str(row.confirmed_epoch), "yellow" if behind else None
    )
