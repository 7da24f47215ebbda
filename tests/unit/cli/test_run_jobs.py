"""The command `run` for an application with jobs: which tree it builds, and what it refuses to build."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from supervisor.app import App
from supervisor.cli import main
from supervisor.config import Lane
from supervisor.jobs.job import job
from supervisor.process.exit_code import ExitCode
from supervisor.tree.supervisor import Supervisor
from tests.source import ROOT

if TYPE_CHECKING:
    from supervisor.config import Config

HIDDEN = "hunter2"


@job()
async def nothing() -> None:
    """Do nothing."""


class Builder:
    """Stands for the module that builds the tree and for the one that runs it: notes what they were given."""

    def __init__(self) -> None:
        self.built: list[tuple[App, Config, str | None]] = []
        self.ran: list[Supervisor] = []
        self.root = Supervisor("root")

    def standard_tree(self, app: App, config: Config, *, lane: str | None = None) -> Supervisor:
        self.built.append((app, config, lane))
        return self.root

    def run(self, root: Supervisor, config: Config) -> int:
        self.ran.append(root)
        return 0


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Put a stand-in where the command finds what builds and runs the tree."""
    builder = Builder()
    standard, runner = ModuleType("actors.standard"), ModuleType("supervisor.process.runner")
    standard.__spec__ = find_spec("actors.standard")
    standard.__dict__["standard_tree"] = builder.standard_tree
    runner.__dict__["run"] = builder.run
    for module in (standard, runner):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return builder


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> App:
    """The application `shop:app`, which has a job, and `shop:idle`, which has none."""
    module = ModuleType("shop")
    module.__dict__.update(app=App(jobs=[nothing]), idle=App())
    monkeypatch.setitem(sys.modules, "shop", module)
    found: App = module.__dict__["app"]
    return found


def test_an_app_with_jobs_runs_in_the_standard_tree(builder: Builder, shop: App) -> None:
    """The ready-made actors do its jobs, in the main lane."""
    assert main(["--app", "shop:app"]) == 0
    assert [(app, lane, config.lane) for app, config, lane in builder.built] == [(shop, Lane.MAIN, Lane.MAIN)]
    assert builder.ran == [builder.root]


def test_an_app_without_jobs_needs_no_ready_made_actor(builder: Builder, shop: App) -> None:
    """Settings of jobs that the environment has for all processes of a host do not matter to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERVISOR_QUEUES", "mail")
        assert main(["--app", "shop:idle"]) == 0
    assert builder.built == []
    assert len(builder.ran) == 1


@pytest.mark.parametrize(
    ("words", "setting", "parsed"),
    [
        (["--concurrency", "7"], "concurrency", 7),
        (["--threads", "3"], "threads", 3),
        (["--queues", "mail, print"], "queues", ("mail", "print")),
        (["--until-empty"], "until_empty", True),
        (["--no-migrate"], "migrate", False),
        (["--migrate"], "migrate", True),
        (["--no-quarantine"], "quarantine", False),
        (["--data-dir", "data"], "data_dir", Path("data")),
        (["--pg-bindir", "bin"], "pg_bindir", Path("bin")),
        (["--schema", "jobs"], "schema", "jobs"),
        (["--drain-timeout", "5m"], "drain_timeout", 300.0),
        (["--lease", "1m"], "lease", 60.0),
        (["--heartbeat", "2s"], "heartbeat", 2.0),
        (["--poll", "500ms"], "poll", 0.5),
        (["--idle-poll", "10"], "idle_poll", 10.0),
        (["--max-losses", "5"], "max_losses", 5),
        (["--history-days", "1"], "history_days", 1),
        (["--singleton", "shop"], "singleton", "shop"),
        (["--no-singleton-wait"], "singleton_wait", False),
        (["--database-wait", "0"], "database_wait", 0.0),
    ],
)
def test_a_flag_reaches_its_setting(
    words: list[str], setting: str, parsed: object, builder: Builder, shop: App
) -> None:
    """Each option about jobs sets the setting of its name."""
    assert main(["--app", "shop:app", *words]) == 0
    assert [getattr(config, setting) for _, config, _ in builder.built] == [parsed]


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--queues", "mail"], "--queues"), (["--no-migrate", "--concurrency", "5"], "--concurrency, --no-migrate")],
)
def test_an_option_about_jobs_needs_jobs(
    words: list[str], named: str, builder: Builder, shop: App, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody who expects jobs to run is told that the application has none."""
    assert main(["--app", "shop:idle", *words]) == ExitCode.CONFIG
    told = capsys.readouterr().err
    assert f"app = 'shop:idle': it has no jobs, and {named} is about jobs" in told
    assert "remedy: declare them, as in App(jobs=[send_welcome]), or leave" in told
    assert builder.ran == []


@pytest.mark.parametrize("option", ["--database-url", "--direct-database-url"])
def test_a_secret_is_no_option(option: str, builder: Builder, shop: App, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL on the command line is refused with the places where it belongs, and not repeated."""
    assert main(["--app", "shop:app", option, f"postgresql://u:{HIDDEN}@h/d"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "DATABASE_URL" in told
    assert "supervisor.toml" in told
    assert HIDDEN not in told
    assert builder.ran == []


def test_a_process_can_be_told_to_run_suspects(builder: Builder, shop: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane comes from the process that started this one."""
    monkeypatch.setenv("SUPERVISOR_LANE", "quarantine")
    assert main(["--app", "shop:app"]) == 0
    assert [(lane, config.lane) for _, config, lane in builder.built] == [(Lane.QUARANTINE, Lane.QUARANTINE)]


def test_a_lane_that_does_not_exist_is_refused(
    builder: Builder, shop: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that nobody should set is not taken for anything."""
    monkeypatch.setenv("SUPERVISOR_LANE", "fast")
    assert main(["--app", "shop:app"]) == ExitCode.CONFIG
    assert "SUPERVISOR_LANE = 'fast': is no setting" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "hides", "remedy"),
    [
        ("actors/__init__.py", "the package `actors`", "delete it: a folder actors without that file"),
        ("actors.py", "the package `actors`", "rename it"),
        ("actors/standard.py", "the module `actors.standard`", "rename it"),
    ],
)
def test_a_file_that_hides_the_ready_made_actors_is_named(name: str, hides: str, remedy: str, tmp_path: Path) -> None:
    """Whoever has a folder of that name is told which file stands in the way, and what to do."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "shop.py").write_text(
        "from supervisor import App, job\n\n@job()\nasync def nothing() -> None: ...\n\napp = App(jobs=[nothing])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "--app", "shop:app"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == ExitCode.CONFIG, done.stderr
    first, second = done.stderr.splitlines()
    assert first == f"supervisor: {str(tmp_path / name)!r} hides {hides} of supervisor-runtime"
    assert second.startswith(f"  remedy: {remedy}")


def test_a_folder_of_actors_is_merged_with_ours(tmp_path: Path) -> None:
    """A folder of the same name beside the project is no problem, as long as it is only a folder."""
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors/mailer.py").touch()
    code = "import actors.mailer; from supervisor.cli.job_tree import refuse_hidden_actors as it; it()"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True, timeout=50)
