"""What a process uses: memory, file descriptors, threads and sessions, sampled while it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    Session = asyncpg.Connection[asyncpg.Record]

_SESSIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'steady%'"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look, when so many jobs were done. memory: KiB that are resident."""

    done: int
    memory: int
    files: int
    threads: int
    sessions: int


async def look(pid: int, connection: Session, done: int) -> Sample:
    """Take a sample of a process whose sessions are called `steady`."""
    sessions: int = await connection.fetchval(_SESSIONS)
    return _sample(pid, done, sessions)


def _sample(pid: int, done: int, sessions: int) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(done, int(status["VmRSS"].split()[0]), files, int(status["Threads"]), sessions)


def growth(samples: Sequence[Sample], more: int) -> list[str]:
    """List what grew between the second fifth of the work and the last; `more`: KiB that may be added."""
    total = samples[-1].done
    early = [one for one in samples if 0.2 * total <= one.done < 0.5 * total]
    late = [one for one in samples if one.done >= 0.8 * total]
    if not early or not late:
        return ["void: too few samples"]
    wrong = []
    for name, allowed in (("memory", more), ("files", 3), ("threads", 1), ("sessions", 2)):
        before, after = (max(getattr(one, name) for one in part) for part in (early, late))
        if after > before + allowed:
            wrong.append(f"{name} grew from {before} to {after} over {total} jobs")
    return wrong
