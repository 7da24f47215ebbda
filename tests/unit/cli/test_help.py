"""The help, the version and the package as a command: what they answer."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli import main
from supervisor.process.exit_code import ExitCode

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first page names every command, and fits a small terminal."""
    assert main([flag]) == 0
    page = capsys.readouterr().out
    assert "  run " in page
    assert "  tree " in page
    assert max(map(len, page.splitlines())) <= 80
    assert len(page.splitlines()) <= 30


def test_the_page_of_run_lists_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Every exit code has its meaning in the help of `run`."""
    main(["run", "--help"])
    page = " ".join(capsys.readouterr().out.split())
    assert "Exit codes:" in page
    assert [code for code in ExitCode if f" {int(code)} {code.meaning}" not in page] == []


@pytest.mark.parametrize(
    ("terminal", "no_colour", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_help_has_colours_on_a_terminal(
    terminal: bool, no_colour: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours appear on a terminal, unless `NO_COLOR` is set."""

    class Out(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    out = Out()
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setattr(sys, "stdout", out)
    main(["--help"])
    assert ("\033[" in out.getvalue()) is coloured


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the distribution."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("supervisor-runtime ")


def test_help_loads_nothing_heavy() -> None:
    """The help page does not wait for the libraries that only a running process needs."""
    heavy = "{'anyio', 'asyncio', 'msgspec', 'opentelemetry', 'orjson', 'pydantic', 'rich', 'structlog', 'uvloop'}"
    program = (
        f"import sys; from supervisor.cli import main; main(['--help']); sys.exit(str({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stderr.strip() == "set()"


def test_the_package_can_be_run() -> None:
    """`python -m supervisor` is the command line, with its exit code."""
    words = [sys.executable, "-m", "supervisor", "rnu"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == ExitCode.USAGE
    assert "Did you mean 'run'?" in done.stderr
