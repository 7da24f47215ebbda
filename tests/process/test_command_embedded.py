"""Commands without a database URL: they use the process's own PostgreSQL, and end it if nobody else needs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.cli import main
from supervisor.config import settings
from supervisor.store.embedded import postmaster
from tests.store.postgres import bindir, open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the data folder of the settings, in which there is nothing yet."""
    monkeypatch.chdir(tmp_path)
    for variable in [row.env for row in settings()]:
        monkeypatch.delenv(variable, raising=False)
    path = open_folder()
    monkeypatch.setenv("SUPERVISOR_DATA_DIR", str(path))
    monkeypatch.setenv("SUPERVISOR_PG_BINDIR", str(bindir()))
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    yield path
    remove_folder(path)


SHOP = """
from supervisor.app import App
from supervisor.jobs.job import job

@job()
async def tidy() -> None:
    pass

app = App(jobs=[tidy])
"""


async def test_a_database_of_our_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first enqueue makes the database, the next command finds the job in it, and no server is left behind."""

    async def run(*words: str) -> str:
        assert await asyncio.to_thread(main, words) == 0
        return capsys.readouterr().out

    assert await run("enqueue", "tidy", "--app", "shop:app") == "1\n"
    assert postmaster.running(folder / "postgres/cluster") is None
    assert "tidy" in await run("jobs", "list")
    assert "tidy" in await run("jobs", "show", "1")
    assert postmaster.running(folder / "postgres/cluster") is None
