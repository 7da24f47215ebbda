"""The command `enqueue` before it comes to a database: what it refuses, and how it says so."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from supervisor.app import App
from supervisor.cli import main
from supervisor.jobs.job import job
from supervisor.process.exit_code import ExitCode


@dataclass(frozen=True)
class Welcome:
    user_id: int


@job()
async def welcome(args: Welcome) -> None:
    """Do nothing."""


@pytest.fixture(autouse=True)
def _shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the application `shop:app`, and a database that is not there."""
    module = ModuleType("shop")
    module.__dict__["app"] = App(jobs=[welcome])
    monkeypatch.setitem(sys.modules, "shop", module)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://someone:secret@/x?host={Path.cwd()}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--file", "x", "--args", "{}"], "--args is for a single job"),
        (["--file", "x", "--key", "k"], "--key is for a single job"),
        (["--file", "x", "--wait"], "--wait is for a single job"),
        (["--again"], "--again goes with --file"),
        (["--within", "5"], "--within goes with --wait"),
        (["--delay", "5", "--run-at", "2026-01-01T00:00Z"], "give one of them"),
        (["--delay", "soon"], "is no duration"),
        (["--run-at", "2026-01-01T00:00"], "add Z for UTC"),
        (["--priority", "40000"], "from -32768 (first) to 32767 (last)"),
        (["--max-attempts", "0"], "max_attempts=0"),
        (["--queue", "a b"], "queue='a b'"),
        (["--key", ""], "unique_key has 0 characters"),
        (["--args", "{user_id: 7}"], "is not JSON"),
        (["--args", ""], "is empty"),
        (["--file", "missing"], "missing cannot be read: No such file"),
        (["--file", "."], ". cannot be read: Is a directory"),
        (["--app", "shop:app", "--args", '{"user_id": "x"}'], "args.user_id: Expected `int`, got `str`"),
        (["--app", "shop:app"], "missing required field `user_id`"),
    ],
)
def test_a_mistake_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is tried with a command line that is wrong: exit code 2, and the remedy is said."""
    assert main(["enqueue", "welcome", *words]) == ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_job_that_the_application_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    """An application that is named for the command must have the job, and a near miss is guessed."""
    assert main(["enqueue", "welcom", "--app", "shop:app"]) == ExitCode.USAGE
    assert "shop:app has no job of kind 'welcom'; did you mean 'welcome'?" in capsys.readouterr().err


def test_all_mistakes_of_a_file_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first line is enqueued all are checked: line, field and remedy of twenty, and how many more."""
    path = tmp_path / "ids"
    path.write_text("# ids\n7\n" + "seven\n" * 25, encoding="utf-8")
    assert main(["enqueue", "welcome", "--app", "shop:app", "--file", str(path)]) == ExitCode.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"supervisor: {path} has 25 mistakes; nothing was enqueued:"
    assert lines[1].startswith("  line 3: args.user_id: Expected `int`, got `str`; ")
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"


def test_mistakes_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the mistakes are a document."""
    path = tmp_path / "ids"
    path.write_text("7\n", encoding="utf-8")
    assert main(["enqueue", "welcome", "--file", str(path), "--json"]) == ExitCode.USAGE
    answer = json.loads(capsys.readouterr().out)
    assert (answer["mistake_count"], answer["enqueued"]) == (1, 0)
    (mistake,) = answer["mistakes"]
    assert (mistake["line"], mistake["field"]) == (1, "args")
    assert "bare value" in mistake["reason"]
    assert "--app module:name" in mistake["remedy"]


def test_an_empty_file_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with nothing but comments was hardly meant."""
    path = tmp_path / "ids"
    path.write_text("# none\n\n", encoding="utf-8")
    assert main(["enqueue", "welcome", "--file", str(path)]) == ExitCode.USAGE
    assert "has no job in it, only 2 lines blank or comments" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["enqueue", "welcome"], ["jobs", "list"], ["jobs", "show", "1"], ["queue", "stats"], ["queue", "health"]],
)
def test_a_database_out_of_reach(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A database that is not there may come back: exit code 69, one line, and no word of the password."""
    assert main(words) == ExitCode.NO_START
    printed = capsys.readouterr()
    assert printed.err.startswith("supervisor: cannot connect to the database")
    assert printed.err.count("\n") == 1
    assert "secret" not in printed.err + printed.out


def test_without_any_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever only looks creates no database of the process's own, and is told how there may be one."""
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("SUPERVISOR_DATA_DIR", str(tmp_path / "data"))
    assert main(["jobs", "list"]) == ExitCode.NO_START
    assert "remedy: set DATABASE_URL" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the names are all that matters
