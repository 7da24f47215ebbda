"""The command `tree`: which process it asks, what it shows, and with which exit code it ends."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from supervisor.cli import main
from supervisor.cli import tree as tree_command
from supervisor.cli.tree_view import TreeView
from supervisor.errors import SupervisorError
from supervisor.process.exit_code import ExitCode
from supervisor.process.inspector_client import Running

if TYPE_CHECKING:
    from collections.abc import Mapping

    Answer = dict[str, object]


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
