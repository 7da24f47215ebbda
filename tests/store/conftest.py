"""Data folders for tests that start servers of their own, and what is left of them ended by its own pid."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from supervisor.store.embedded import EmbeddedPostgres
from supervisor.store.embedded.limit import Limit
from tests.store.postgres import LIMIT, NO_WAITING, bindir, open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give an empty data folder."""
    path = open_folder()
    yield path
    remove_folder(path)


@pytest.fixture
def seeded(folder: Path, seed: Path) -> Path:
    """Give a data folder with a database in it."""
    subprocess.run(["/bin/cp", "-a", seed / "postgres", folder], check=True, timeout=LIMIT)
    return folder


@pytest.fixture(scope="session")
def seed() -> Iterator[Path]:
    """Make the database that `seeded` copies, since initdb takes longer than a copy."""
    path = open_folder()
    cluster = EmbeddedPostgres(path, bindir=bindir(), settings=NO_WAITING)._cluster
    cluster.join(Limit(3 * LIMIT))
    assert cluster.leave(Limit(LIMIT))
    yield path
    remove_folder(path)


@pytest.fixture
def programs() -> Iterator[Path]:
    """Give a folder for fake programs, with a named pipe on which they tell their pid."""
    path = open_folder(in_memory=False)
    os.mkfifo(path / "pid")
    (path / "pid").chmod(0o666)
    yield path
    remove_folder(path)
