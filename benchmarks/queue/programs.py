"""PostgreSQL's own programs beside the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.store.embedded.binaries import candidates

if TYPE_CHECKING:
    from pathlib import Path


def program(name: str) -> Path:
    """Find one of PostgreSQL's programs, such as `pgbench`."""
    for folder in candidates():
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} is not beside any PostgreSQL server here: install PostgreSQL's client programs")
