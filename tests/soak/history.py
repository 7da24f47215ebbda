"""What a campaign leaves behind, put in order: the jobs of the database beside the runs of the ledger."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.soak.ledger import orders, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import asyncpg

    from tests.soak.ledger import Entry

_LIVE = """
    SELECT id, kind, args->>'token' AS token, claimed_by, unique_key, 'jobs' AS place FROM supervisor.jobs
    UNION ALL
    SELECT id, kind, args->>'token', claimed_by, unique_key, reason FROM supervisor.jobs_waiting
"""
_PAST = """
    SELECT job_id AS id, kind, args->>'token' AS token, status, attempts, max_attempts, losses, interruptions,
           lock_version, unique_key, last_error
    FROM supervisor.job_history
"""
_EFFECTS = "SELECT job, name, count(*) AS times FROM effects GROUP BY 1, 2"


@dataclass(slots=True)
class Run:
    """One run of a job, from the beginning of its handler to its end, or to that of its process."""

    job: int
    fence: int
    pid: int
    began: float
    last: float
    """When it did something for the last time."""
    left: float | None = None
    how: str = ""


@dataclass(slots=True)
class History:
    """Everything that is known after a campaign. Rows are those of the database as dictionaries."""

    entries: Sequence[Entry]
    live: Sequence[dict[str, Any]]
    past: Sequence[dict[str, Any]]
    effects: dict[tuple[int, str], int]
    orders: set[str]
    runs: dict[int, list[Run]] = field(default_factory=dict)
    died: dict[int, float] = field(default_factory=dict)
    pauses: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def of(self, *what: str) -> Iterable[Entry]:
        """List the entries of these sorts."""
        return (entry for entry in self.entries if entry.what in what)

    def count(self, what: str) -> int:
        """Count the entries of a sort."""
        return sum(1 for _ in self.of(what))


async def collect(folder: Path, connection: asyncpg.Connection[asyncpg.Record]) -> History:
    """Read the ledger and the database."""
    history = History(
        read(folder),
        [dict(row) for row in await connection.fetch(_LIVE)],
        [dict(row) for row in await connection.fetch(_PAST)],
        {(row["job"], row["name"]): row["times"] for row in await connection.fetch(_EFFECTS)},
        orders(folder),
    )
    return ordered(history)


def ordered(history: History) -> History:
    """Find out from the entries what ran when, and where."""
    history.entries = sorted(history.entries, key=lambda entry: entry.at)
    _processes(history)
    _runs(history)
    return history


def _processes(history: History) -> None:
    """Find out when each process died, and when it stood still."""
    since: dict[int, float] = {}
    for entry in history.entries:
        match entry.what, entry.text:
            case "sending", "SIGSTOP":
                since[entry.pid] = entry.at
            case ("sent", "SIGCONT") | ("sent", "SIGKILL"):
                if entry.pid in since:
                    history.pauses.setdefault(entry.pid, []).append((since.pop(entry.pid), entry.at))
        if entry.what in {"died", "poisoned", "crashed"} or (entry.what == "sent" and entry.text == "SIGKILL"):
            history.died.setdefault(entry.pid, entry.at)


def _runs(history: History) -> None:
    open_runs: dict[tuple[int, int], Run] = {}
    found: dict[int, list[Run]] = defaultdict(list)
    for entry in history.entries:
        if entry.what == "began":
            run = Run(entry.job, entry.fence, entry.pid, entry.at, entry.at)
            found[entry.job].append(run)
            open_runs[entry.job, entry.fence] = run
        elif entry.what in {"called", "passed", "left"} and (entry.job, entry.fence) in open_runs:
            run = open_runs[entry.job, entry.fence]
            run.last = entry.at
            if entry.what == "left":
                run.left, run.how = entry.at, entry.text
    for runs in found.values():
        for run in runs:
            if run.left is None:
                run.left = history.died.get(run.pid)
    history.runs = dict(found)
