"""The command `migrate`: what it prints, and its exit code."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import typer

from supervisor.cli.migrate import Action, migrate, migrate_database
from supervisor.errors import ConfigError
from supervisor.process.exit_code import ExitCode
from supervisor.store import migration_files
from tests.store.migration_folder import TABLE, connection, objects, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of two migrations and ship that one."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(migration_files, "shipped", lambda: folder)
    return write(folder, TABLE, "SELECT 1")


async def run(dsn: str, action: Action, *, dry_run: bool = False, as_json: bool = False) -> ExitCode:
    """Run the command, which has a loop of its own."""
    return await asyncio.to_thread(migrate_database, dsn, action, dry_run=dry_run, as_json=as_json)


async def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run, the run and the status are readable, and all of them succeed."""
    async with fresh_database() as dsn:
        assert await run(dsn, Action.UP, dry_run=True) is ExitCode.CLEAN
        printed = capsys.readouterr()
        assert "2 would be applied\n" in printed.out
        assert "running 002_m2\n" in printed.err
        assert not [one for one in await objects(dsn) if one[0] == "supervisor"]

        assert await run(dsn, Action.UP) is ExitCode.CLEAN
        assert "2 applied\n" in capsys.readouterr().out
        assert await run(dsn, Action.UP) is ExitCode.CLEAN
        assert capsys.readouterr().out == "nothing to do\n"

        for action in (Action.STATUS, Action.VERIFY):
            assert await run(dsn, action) is ExitCode.CLEAN
            lines = capsys.readouterr().out.splitlines()
            assert lines[0].split() == ["migration", "state", "applied", "(UTC)", "took", "by"]
            assert lines[-2].split()[:2] == ["002_m2", "applied"]
            assert lines[-1] == "schema supervisor: version 002, 0 pending"


async def test_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the answer is one JSON document and nothing else."""

    def answer() -> Any:  # noqa: ANN401 - it is what JSON says
        return json.loads(capsys.readouterr().out)

    async with fresh_database() as dsn:
        await run(dsn, Action.UP, as_json=True)
        applied = answer()
        assert (applied["schema"], applied["dry_run"], len(applied["applied"])) == ("supervisor", False, 2)
        await run(dsn, Action.STATUS, as_json=True)
        status = answer()
        assert (status["version"], status["pending"], status["problems"]) == (2, 0, [])
        last = status["migrations"][-1]
        assert (last["version"], last["name"], last["state"]) == (2, "m2", "applied")
        assert last["checksum"] == last["recorded_checksum"] == migration_files.load()[1].checksum
        assert last["execution_time_ms"] == applied["applied"][-1]["execution_time_ms"]


async def test_a_refused_state(capsys: pytest.CaptureFixture[str]) -> None:
    """A database that lacks migrations, or has a modified one, is a matter for people: exit code 78."""
    async with fresh_database() as dsn, connection(dsn) as opened:
        assert await run(dsn, Action.VERIFY) is ExitCode.CONFIG
        assert "remedy: python -m supervisor migrate up" in capsys.readouterr().err
        assert await run(dsn, Action.STATUS) is ExitCode.CLEAN
        await run(dsn, Action.UP)
        await opened.execute("UPDATE supervisor.schema_migrations SET checksum = 'other' WHERE version = 1")
        capsys.readouterr()
        for action in Action:
            assert await run(dsn, action) is ExitCode.CONFIG
            printed = capsys.readouterr()
            assert "was modified after it was applied" in printed.err
            assert ("modified" in printed.out) == (action is Action.STATUS)


def test_a_database_out_of_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A database that is not there may come back: exit code 69, and no word of the password."""
    code = migrate_database(f"postgresql://someone:secret@/x?host={tmp_path}", Action.UP)
    assert code is ExitCode.NO_START
    printed = capsys.readouterr()
    assert "cannot connect to the database" in printed.err
    assert "secret" not in printed.err + printed.out


def test_the_url_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is never an argument, which everybody on the machine could read; without one nothing happens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUPERVISOR_TEST_PG_MAJOR", raising=False)  # a setting of the tests, not of the process
    monkeypatch.setenv("DATABASE_URL", f"postgresql:///x?host={tmp_path}")
    with pytest.raises(typer.Exit) as ended:
        migrate(Action.STATUS)
    assert ended.value.exit_code == ExitCode.NO_START
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(ConfigError, match=r"(?s)database_url is not set.*remedy: set DATABASE_URL"):
        migrate(Action.STATUS)


@pytest.mark.parametrize("action", [Action.STATUS, Action.VERIFY])
def test_only_a_run_can_be_dry(action: Action) -> None:
    """A dry run of what changes nothing is a mistake on the command line."""
    with pytest.raises(typer.BadParameter, match="--dry-run goes with"):
        migrate(action, dry_run=True)
