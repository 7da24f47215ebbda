"""The command line: what it passes on, what it answers, and with which exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from supervisor.app import App
from supervisor.cli import main
from supervisor.cli import tree as tree_command
from supervisor.cli.tree_view import TreeView
from supervisor.config import Config, settings
from supervisor.errors import SupervisorError
from supervisor.process.exit_code import ExitCode
from supervisor.process.inspector_client import Running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.tree.supervisor import Supervisor

    Answer = dict[str, object]

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test an empty working directory without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in [row.env for row in settings()]:
        monkeypatch.delenv(variable, raising=False)


class Runner:
    """Stands for the module that runs a tree: notes what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Supervisor, Config]] = []
        self.code = 0

    def run(self, root: Supervisor, config: Config) -> int:
        self.calls.append((root, config))
        return self.code


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Put a stand-in where the command finds the runner."""
    runner = Runner()
    module = ModuleType("supervisor.process.runner")
    module.__dict__["run"] = runner.run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return runner


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> App:
    """The application `shop:app`."""
    module = ModuleType("shop")
    module.__dict__["app"] = app = App()
    monkeypatch.setitem(sys.modules, "shop", module)
    return app


# --- run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["run", "--app", "shop:app"], ["--app", "shop:app"], ["--app=shop:app"]])
def test_run_is_the_default(words: list[str], runner: Runner, shop: App) -> None:
    """`run` starts the application, and may be left out."""
    assert main(words) == 0
    assert [root for root, _ in runner.calls] == [shop.root]


def test_run_without_a_word_takes_the_app_from_the_settings(
    runner: Runner, shop: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty command line runs what the environment or the file names."""
    monkeypatch.setenv("SUPERVISOR_APP", "shop:app")
    assert main([]) == 0
    assert [root for root, _ in runner.calls] == [shop.root]


@pytest.mark.parametrize("code", list(ExitCode))
def test_the_exit_code_is_the_runners(code: ExitCode, runner: Runner, shop: App) -> None:
    """The process ends as the tree ended."""
    runner.code = code
    assert main(["--app", "shop:app"]) == code


@pytest.mark.parametrize(
    ("words", "setting", "parsed"),
    [
        (["--shutdown-timeout", "90s"], "shutdown_timeout", 90.0),
        (["--loop-block-warn", "250ms"], "loop_block_warn", 0.25),
        (["--loop-block-limit", "0"], "loop_block_limit", 0.0),
        (["--log-level", "debug"], "log_level", "debug"),
        (["--log-format", "json"], "log_format", "json"),
        (["--name", "till"], "name", "till"),
        (["--runtime-dir", "sockets"], "runtime_dir", Path("sockets")),
        (["--trace-messages"], "trace_messages", True),
    ],
)
def test_a_flag_reaches_its_setting(words: list[str], setting: str, parsed: object, runner: Runner, shop: App) -> None:
    """Each flag of `run` sets the setting of its name, in the notation of the settings."""
    main(["--app", "shop:app", *words])
    assert [getattr(config, setting) for _, config in runner.calls] == [parsed]


def test_a_flag_that_was_not_given_overrides_nothing(
    runner: Runner, shop: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment counts where the command line is silent, and loses where it is not."""
    monkeypatch.setenv("SUPERVISOR_LOG_LEVEL", "error")
    monkeypatch.setenv("SUPERVISOR_TRACE_MESSAGES", "true")
    main(["--app", "shop:app"])
    main(["--app", "shop:app", "--log-level", "debug", "--no-trace-messages"])
    told = [(config.log_level, config.trace_messages) for _, config in runner.calls]
    assert told == [("error", True), ("debug", False)]


def test_the_settings_file_can_be_named(runner: Runner, shop: App, tmp_path: Path) -> None:
    """`--config` reads another file than the one beside the user."""
    (tmp_path / "other.toml").write_text('name = "till"\n')
    main(["--app", "shop:app", "--config", "other.toml"])
    assert [config.name for _, config in runner.calls] == ["till"]


def test_run_has_a_flag_for_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """No setting is without its flag."""
    main(["run", "--help"])
    page = capsys.readouterr().out
    assert [row.flag for row in settings() if f"  {row.flag} " not in page] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "app is not set"),
        (["--app", "shop:ap"], "did you mean shop:app?"),
        (["--app", "shop:app", "--shutdown-timeout", "soon"], "shutdown_timeout = 'soon' (flag --shutdown-timeout)"),
        (["--app", "shop:app", "--config", "missing.toml"], "missing.toml"),
    ],
)
def test_a_mistake_in_the_configuration_is_78(
    words: list[str], message: str, runner: Runner, shop: App, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot work is told on stderr, and nothing starts."""
    assert main(words) == ExitCode.CONFIG
    written = capsys.readouterr()
    assert written.err.startswith("supervisor: ")
    assert message in written.err
    assert written.out == ""
    assert runner.calls == []


@pytest.mark.parametrize(
    "words",
    [
        ["--bogus"],
        ["run", "--app"],
        ["run", "shop:app"],
        ["shop:app"],
        ["rnu"],
        ["tree", "--pid", "many"],
        ["tree", "explode"],
        ["tree", "stop"],
        ["tree", "--watch", "--json"],
        ["tree", "stop", "root/till", "--watch"],
    ],
)
def test_a_wrong_command_line_is_2(words: list[str], runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense is refused before anything happens."""
    assert main(words) == ExitCode.USAGE
    assert "Error: " in capsys.readouterr().err
    assert runner.calls == []


def test_an_unexpected_error_is_not_dressed_up(shop: App, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug comes out as it is, for Python to print, and nothing installs a hook that would show variables."""

    def broken(root: Supervisor, config: Config) -> int:
        raise ZeroDivisionError

    hook = sys.excepthook
    monkeypatch.setattr(sys.modules["supervisor.process.runner"], "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["--app", "shop:app"])
    assert sys.excepthook is hook


def test_last_words_of_the_application_are_kept(shop: App, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.exit` with a text stays what it is."""

    def leave(root: Supervisor, config: Config) -> int:
        sys.exit("no stock")

    monkeypatch.setattr(sys.modules["supervisor.process.runner"], "run", leave)
    with pytest.raises(SystemExit, match="no stock"):
        main(["--app", "shop:app"])


# --- help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first page names every command, and fits a small terminal."""
    assert main([flag]) == 0
    page = capsys.readouterr().out
    assert "  run " in page
    assert "  tree " in page
    assert max(map(len, page.splitlines())) <= 80
    assert len(page.splitlines()) <= 24


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


# --- tree ------------------------------------------------------------------------------------------


def node(path: str, *children: Answer) -> Answer:
    """Describe a node as a process does."""
    name = path.rpartition("/")[2]
    return {"path": path, "name": name, "kind": "Actor", "state": "running", "children": list(children)}


ANSWER: Answer = {
    "name": "shop",
    "pid": 41,
    "state": "running",
    "started_at": 0.0,
    "tree": node("root", node("root/till"), node("root/ledger")),
}


class Processes:
    """Stands for the processes of this host, and notes what they were asked."""

    def __init__(self) -> None:
        self.running: list[Running] = []
        self.folders: list[Path | None] = []
        self.asked: list[tuple[int, Mapping[str, object]]] = []
        self.refusal: str | None = None

    def start(self, name: str, pid: int) -> None:
        self.running.append(Running(name, pid, Path(f"{name}.{pid}.sock")))

    def find(self, runtime_dir: Path | None = None, name: str | None = None) -> list[Running]:
        self.folders.append(runtime_dir)
        return [process for process in self.running if name in {None, process.name}]

    def request(self, running: Running, message: Mapping[str, object]) -> Answer:
        self.asked.append((running.pid, message))
        if self.refusal is not None:
            raise SupervisorError(self.refusal)
        return ANSWER if message["op"] == "tree" else {}


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """Put a stand-in where the command finds the processes of this host."""
    processes = Processes()
    monkeypatch.setattr("supervisor.process.inspector_client.find", processes.find)
    monkeypatch.setattr("supervisor.process.inspector_client.request", processes.request)
    return processes


def test_without_a_process_tree_is_69(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing runs, one clear line says so."""
    assert main(["tree", "--runtime-dir", "sockets"]) == ExitCode.NO_START
    assert capsys.readouterr().err == "supervisor: no process is running; looked in sockets\n"
    assert processes.folders == [Path("sockets")]


def test_the_only_process_is_shown(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """With one process there is nothing to choose."""
    processes.start("shop", 41)
    assert main(["tree"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("shop  pid 41  running")
    assert "till" in page
    assert processes.asked == [(41, {"op": "tree", "stacks": False})]


def test_several_processes_are_listed(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """With several processes the user has to choose, and is told from what."""
    processes.start("shop", 41)
    processes.start("warehouse", 42)
    assert main(["tree"]) == ExitCode.USAGE
    written = capsys.readouterr().err
    assert "choose with --name or --pid" in written
    assert written.splitlines()[1:] == ["  shop       pid 41", "  warehouse  pid 42"]
    assert processes.asked == []


@pytest.mark.parametrize("words", [["--name", "warehouse"], ["--pid", "42"]])
def test_a_process_is_chosen_by_name_or_pid(words: list[str], processes: Processes) -> None:
    """`--name` and `--pid` each choose one of several processes."""
    processes.start("shop", 41)
    processes.start("warehouse", 42)
    assert main(["tree", *words]) == 0
    assert [pid for pid, _ in processes.asked] == [42]


def test_the_settings_choose_a_process(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name and the folder that the process itself has from its settings find it again."""
    processes.start("shop", 41)
    processes.start("warehouse", 42)
    monkeypatch.setenv("SUPERVISOR_NAME", "shop")
    monkeypatch.setenv("SUPERVISOR_RUNTIME_DIR", "sockets")
    assert main(["tree"]) == 0
    assert [pid for pid, _ in processes.asked] == [41]
    assert processes.folders == [Path("sockets")]


def test_a_process_that_does_not_run_is_69(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name is answered with those that run."""
    processes.start("shop", 41)
    assert main(["tree", "--name", "shp"]) == ExitCode.NO_START
    assert capsys.readouterr().err == "supervisor: no process called shp is running; these are:\n  shop  pid 41\n"


def test_json_is_the_answer_itself(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints what the process answered, and nothing else."""
    processes.start("shop", 41)
    assert main(["tree", "--json", "--stacks"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER
    assert processes.asked == [(41, {"op": "tree", "stacks": True})]


def test_a_part_of_the_tree_can_be_shown(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """`tree show PATH` shows one node and what is below it."""
    processes.start("shop", 41)
    assert main(["tree", "show", "root/till", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tree"] == node("root/till")
    assert main(["tree", "show", "root/door"]) == ExitCode.USAGE
    assert "there is no node 'root/door'" in capsys.readouterr().err


@pytest.mark.parametrize(("action", "done"), [("stop", "stopped"), ("restart", "restarted"), ("remove", "removed")])
def test_a_node_can_be_changed(
    action: str, done: str, processes: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    """An action is asked of the process, and its end is reported."""
    processes.start("shop", 41)
    assert main(["tree", action, "root/till"]) == 0
    assert processes.asked == [(41, {"op": action, "path": "root/till"})]
    assert capsys.readouterr().out == f"{done} root/till\n"
    assert main(["tree", action, "root/till", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


@pytest.mark.parametrize("words", [["tree"], ["tree", "stop", "root/till"]])
def test_a_refusal_is_69(words: list[str], processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """What the process refuses, or cannot answer, is told in its own words."""
    processes.start("shop", 41)
    processes.refusal = "the till is busy"
    assert main(words) == ExitCode.NO_START
    assert capsys.readouterr().err == "supervisor: the till is busy\n"


def test_watching_needs_a_terminal(processes: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    """`--watch` into a file would fill it with screens."""
    processes.start("shop", 41)
    assert main(["tree", "--watch"]) == ExitCode.USAGE
    assert "--watch needs a terminal" in capsys.readouterr().err


def test_watching_draws_until_ctrl_c() -> None:
    """`--watch` draws the tree anew after each pause, and Ctrl-C is its ordinary end."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, height=20)
    pauses: list[float] = []
    views: list[TreeView] = []

    def view() -> TreeView:
        views.append(TreeView.of(ANSWER))
        return views[-1]

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    tree_command._watch(screen, view, pause)
    assert pauses == [1.0, 1.0, 1.0]
    assert len(views) == 4
