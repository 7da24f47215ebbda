"""Holds the documentation to the truth: its programs run, and its tables and help pages are the real ones."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Final

import pytest
from mypy import api

import supervisor
from supervisor.app import App
from supervisor.config import Config, read, settings
from supervisor.jobs import events as job_events
from supervisor.jobs import fleet_events
from supervisor.jobs.events import JobEvent
from supervisor.process import events as process_events
from supervisor.process.budget import Budget
from supervisor.process.exit_code import ExitCode
from supervisor.telemetry.logs import name_of
from supervisor.testing import running
from supervisor.tree import events as tree_events
from supervisor.tree.events import Event
from tests.pages import Page, Program, pages, programs
from tests.source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS: Final = [program for page in pages() for program in programs(page)]
RUNNABLE: Final = [program for program in PROGRAMS if program.runs]
README: Final = Page(ROOT / "README.md")
OPERATIONS: Final = Page(ROOT / "docs/operations.md")
SHUTDOWN: Final = Page(ROOT / "docs/shutdown.md")
UNIT: Final = ROOT / "deploy/supervisor.service"
PROGRAM: Final = "$ python -m supervisor"


# --- programs ---------------------------------------------------------------------------------------


@pytest.fixture
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Run a program of the documentation as a module, as importing it would."""
    program: Program = request.param
    module = ModuleType(program.name)
    monkeypatch.setitem(sys.modules, program.name, module)
    exec(compile(program.text, str(program.page.path), "exec"), module.__dict__)  # noqa: S102 - our own text
    return module


@pytest.mark.xdist_group("mypy")
@pytest.mark.timeout(180)
def test_every_program_type_checks(tmp_path: Path) -> None:
    """All Python in the documentation passes `mypy --strict`."""
    files = [tmp_path / f"{program.name}.py" for program in PROGRAMS]
    for file, program in zip(files, PROGRAMS, strict=True):
        file.write_text(program.text, encoding="utf-8")
    options = ["--strict", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache' / 'docs'}"]
    out, err, _ = api.run([*options, "--no-error-summary", *map(str, files)])
    assert (out, err) == ("", "")


@pytest.mark.parametrize("module", RUNNABLE, indirect=True, ids=lambda program: program.name)
async def test_a_program_runs(module: ModuleType) -> None:
    """A program marked `run` does: its tests pass, and its application starts and stops."""
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    app = getattr(module, "app", None)
    assert tests or app is not None, "nothing in it can be run"
    for test in tests:
        outcome = test()
        if inspect.isawaitable(outcome):
            await outcome
    if app is not None:
        made = app if isinstance(app, App) else app()
        async with running(made.root):
            pass


@pytest.mark.parametrize("page", pages(), ids=str)
def test_python_is_marked_as_such(page: Page) -> None:
    """Every block names its language, and a Python block has no marks but `run` and `more`."""
    blocks = page.blocks("python")
    assert all(block.words <= {"run", "more"} for block in blocks)
    assert not (blocks and "more" in blocks[0].words)
    assert page.blocks("") == [], "name the language: text, console, ini"


# --- links and names --------------------------------------------------------------------------------


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_lead_somewhere(page: Page) -> None:
    """Each relative link names a file of the project, and after `#` one of its headings."""
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        assert not anchor or anchor in Page(path).anchors, link


def test_every_public_name_is_explained() -> None:
    """The documentation mentions every public name."""
    text = "".join(page.text for page in pages())
    assert [name for name in supervisor.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_every_page_can_be_found() -> None:
    """The index links to every other page of the documentation."""
    index = Page(ROOT / "docs/index.md")
    linked = {(index.path.parent / link).resolve() for link in index.links}
    assert [str(page) for page in pages() if page.path not in {*linked, index.path}] == []


# --- tables -----------------------------------------------------------------------------------------


def test_the_settings_are_the_real_ones() -> None:
    """The table of settings has every setting with its default, its values and its names."""
    expected = [(f"`{row.name}`", row.default, row.allowed, f"`{row.env}`", row.help) for row in settings()]
    assert OPERATIONS.rows("setting") == expected
    assert [row.flag for row in settings()] == [f"--{row.name.replace('_', '-')}" for row in settings()]


@pytest.mark.parametrize("page", [README, SHUTDOWN], ids=str)
def test_the_exit_codes_are_the_real_ones(page: Page) -> None:
    """Each table of exit codes has every code, its name and its meaning."""
    assert page.rows("exit code") == [(str(int(code)), f"`{code.name}`", code.meaning) for code in ExitCode]


def test_the_budget_is_the_real_one() -> None:
    """The table of deadlines has the numbers that are derived from `shutdown_timeout`."""
    rows = SHUTDOWN.rows("`shutdown_timeout`")
    budgets = [Budget(float(row[0].split()[0])) for row in rows]
    assert rows == [tuple(f"{n:g} s" for n in (each.total, each.drain, each.end, each.hard)) for each in budgets]
    assert Config().shutdown_timeout in {each.total for each in budgets}


def test_the_events_are_the_real_ones() -> None:
    """The table of log lines has every event that the runtime reports."""
    defined = {**vars(tree_events), **vars(process_events), **vars(job_events), **vars(fleet_events)}.values()
    kinds = [kind for kind in defined if isinstance(kind, type) and issubclass(kind, Event)]
    names = [name for row in OPERATIONS.rows("event") for name in row[0].split(", ")]
    assert sorted(names) == sorted(f"`{name_of(kind)}`" for kind in kinds if kind not in {Event, JobEvent})


# --- commands and files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "text"),
    [(page, block.text) for page in pages() for block in page.blocks("console") if "--help\n" in block.text],
)
def test_a_help_page_is_the_real_one(page: Page, text: str, tmp_path: Path) -> None:
    """Where the documentation shows a help page, the command prints exactly that."""
    command, _, shown = text.partition("\n")
    assert command.startswith(PROGRAM), page
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SUPERVISOR_", "COLUMNS"))}
    printed = subprocess.run(
        [sys.executable, "-m", "supervisor", *command.removeprefix(PROGRAM).split()],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    assert shown == printed


@pytest.mark.parametrize("text", [block.text for page in pages() for block in page.blocks("toml")])
def test_a_settings_file_can_be_read(text: str, tmp_path: Path) -> None:
    """A settings file shown in the documentation is valid and says something."""
    (tmp_path / "supervisor.toml").write_text(text, encoding="utf-8")
    assert any(origin != "default" for origin in read(Config, environ={}, directory=tmp_path).origins.values())


def test_the_unit_keeps_the_deadlines() -> None:
    """The systemd unit leaves more time than the process takes to end itself, in running and in stopping."""
    unit = UNIT.read_text(encoding="utf-8")
    numbers = {key: float(value) for key, value in re.findall(r"^(\w+Sec)=(\d+)$", unit, re.MULTILINE)}
    total = re.search(r"^Environment=SUPERVISOR_SHUTDOWN_TIMEOUT=(\d+)$", unit, re.MULTILINE)
    assert total is not None
    assert numbers["TimeoutStopSec"] > Budget(float(total[1])).hard
    assert numbers["WatchdogSec"] > Config().loop_block_limit
    assert f"RestartPreventExitStatus={ExitCode.USAGE} {ExitCode.CONFIG}\n" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """No mistake is found in the unit by systemd, once its program exists."""
    text = UNIT.read_text(encoding="utf-8")
    path = tmp_path / "shop.service"
    path.write_text(text.replace("/opt/shop/.venv/bin/python", sys.executable), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (checked.returncode, checked.stderr) == (0, "")
