"""The record of a campaign, outside the database: what every process did, when, in files that no crash takes back."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "SOAK_FOLDER"
"""The variable that says where the ledger is."""

_FIELDS: Final = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `at`: seconds of a clock that all processes of this machine share. job, fence: 0 where there is none.

    text: what else there is to say; no line break.
    """

    at: float
    pid: int
    what: str
    job: int
    fence: int
    text: str


class Ledger:
    """Writes one process's entries: each is one write(2) to a file opened with O_APPEND, which a kill -9 leaves whole.

    orders: a service outside, which takes each idempotency key once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self._orders: Final = folder / "orders"
        self._orders.mkdir(exist_ok=True)
        self._pid: Final = os.getpid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd: Final = os.open(folder / f"{self._pid}.ledger", flags, 0o644)

    def write(self, what: str, job: int = 0, fence: int = 0, text: str = "", *, pid: int = 0) -> None:
        """Put an entry down; `pid`: of whom it tells, if not of this process."""
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        os.write(self._fd, f"{at:.6f} {pid or self._pid} {what} {job} {fence} {text}\n".encode())

    def order(self, key: str) -> bool:
        """Place an order at the service; returns whether it was the first with this key."""
        try:
            os.close(os.open(self._orders / key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            return False
        return True


def read(folder: Path) -> list[Entry]:
    """Return the entries of all processes in the order of their times."""
    found = []
    for path in folder.glob("*.ledger"):
        for line in path.read_text().splitlines():
            fields = line.split(" ", _FIELDS - 1)
            if len(fields) < _FIELDS:
                raise ValueError(f"{path}: half a line: {line!r}")
            at, pid, what, job, fence, text = fields
            found.append(Entry(float(at), int(pid), what, int(job), int(fence), text))
    return sorted(found, key=lambda entry: entry.at)


def orders(folder: Path) -> set[str]:
    """Return the keys of all orders that the service has taken."""
    return {path.name for path in (folder / "orders").iterdir()}
