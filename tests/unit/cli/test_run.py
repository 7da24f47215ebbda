"""The command `run`: what it passes on, and with which exit code it ends."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from supervisor.app import App
from supervisor.cli import main
from supervisor.config import Config, settings
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from supervisor.tree.supervisor import Supervisor


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
    """No setting is without its flag, but for the secrets, which have none."""
    main(["run", "--help"])
    page = capsys.readouterr().out
    assert [row.flag for row in settings() if (f"  {row.flag} " in page) is row.secret] == []


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
