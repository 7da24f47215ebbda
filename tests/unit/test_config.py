"""Settings: what is read from where, and how they describe themselves."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import supervisor.config
from supervisor.config import Config, LogLevel, load, read, settings
from tests.unit.setting_sources import NOWHERE, Colour, Table, env, loaded, written


def test_without_any_source_every_setting_has_its_default() -> None:
    """A program needs no configuration to start."""
    found = read(Config, environ={}, directory=NOWHERE)
    assert found.config == Config()
    assert set(found.origins.values()) == {"default"}


def test_a_later_source_wins_and_the_origin_says_so(tmp_path: Path) -> None:
    """Flags beat the environment, which beats the file, and each origin is on record."""
    written(tmp_path, "name = 'file'\napp = 'file:app'\nlog_level = 'debug'\n")
    found = read(
        Config, flags={"name": "flag", "log_format": None}, environ=env(name="env", app="env:app"), directory=tmp_path
    )
    assert (found.config.name, found.config.app, found.config.log_level) == ("flag", "env:app", LogLevel.DEBUG)
    assert found.origins["name"] == "flag --name"
    assert found.origins["app"] == "environment SUPERVISOR_APP"
    assert found.origins["log_level"] == f"{tmp_path}/supervisor.toml line 3"
    assert found.origins["log_format"] == "default"


def test_the_process_environment_and_folder_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, `load` looks where the process runs."""
    monkeypatch.chdir(written(tmp_path, "name = 'here'"))
    monkeypatch.setenv("SUPERVISOR_TRACE_MESSAGES", "1")
    assert load() == Config(name="here", trace_messages=True)


def test_a_configuration_cannot_be_changed() -> None:
    """What was read once stays as it was read."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        *(("switch", text, True) for text in ("true", "1", "yes", "on", " TRUE ")),
        *(("switch", text, False) for text in ("false", "0", "no", "off", "Off")),
        *(("wait", text, 90.0) for text in ("90", "90.0", "9e1", "90s", "1.5m", "0.025 h", "90000ms", " 90 s ")),
        ("wait", "9ms", 0.009),
        ("wait", "0", 0.0),
        ("count", " 9 ", 9),
        ("ratio", "1e-3", 0.001),
        ("hosts", " a , b.c,,", ("a", "b.c")),
        ("hosts", ",", ()),
        ("delays", "500ms,1m", (0.5, 60.0)),
        ("colour", " Blue", Colour.BLUE),
        ("folder", "/a b", Path("/a b")),
        ("text", " as it is ", " as it is "),
    ],
)
def test_a_text_becomes_a_value(key: str, raw: str, value: object) -> None:
    """The environment can say every type of setting."""
    config = read(Table, environ=env(**{key: raw}), directory=NOWHERE).config
    assert getattr(config, key) == value
    assert type(getattr(config, key)) is type(value)


def test_a_flag_may_have_its_final_type() -> None:
    """A command line that parses its flags itself can hand over the values."""
    flags = {"log_level": LogLevel.ERROR, "runtime_dir": Path("/run"), "loop_block_warn": 1, "trace_messages": True}
    assert loaded(flags) == Config(
        log_level=LogLevel.ERROR, runtime_dir=Path("/run"), loop_block_warn=1.0, trace_messages=True
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPERVISOR_CONFIG", ""),
        ("SUPERVISOR_NONSENSE", ""),
        ("SUPERVISOR_LOG_LEVEL", ""),
        ("SUPERVISORD", "x"),
        ("NAME", "Not Ours"),
        ("SUPERVISOR_ENABLED", "1"),
        ("SUPERVISOR_SERVER_URL", "unix:///run/supervisor.sock"),
        ("SUPERVISOR_PROCESS_NAME", "shop"),
        ("SUPERVISOR_GROUP_NAME", "shop"),
        ("SUPERVISOR_SERVICE_HOST", "10.0.0.1"),
        ("SUPERVISOR_SERVICE_PORT_HTTP", "80"),
        ("SUPERVISOR_PORT", "tcp://10.0.0.1:80"),
        ("SUPERVISOR_WEB_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("SUPERVISOR_PORT_80_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_is_empty_or_belongs_to_others_is_left_alone(name: str, value: str) -> None:
    """An empty variable is not set, and those of supervisord and of Kubernetes are not ours."""
    assert load(environ={name: value}, directory=NOWHERE) == Config()


def test_zero_switches_the_limit_of_a_blocked_loop_off() -> None:
    """Zero means no limit and so conflicts with nothing."""
    assert loaded(loop_block_limit="0", loop_block_warn="30").loop_block_limit == 0


def test_the_settings_describe_themselves() -> None:
    """Every setting has what its documentation needs, and its own names for variable and flag."""
    rows = settings()
    assert [*(row.name for row in rows), "lane"] == [row.name for row in dataclasses.fields(Config)]
    assert all(row.help and row.allowed and row.default for row in rows)
    row = rows[1]
    assert (row.name, row.env, row.flag) == ("shutdown_timeout", "SUPERVISOR_SHUTDOWN_TIMEOUT", "--shutdown-timeout")
    assert row.allowed == 'seconds, or as in "500ms", "90s", "5m", "1h", at least 10'


@pytest.mark.parametrize(
    ("name", "allowed", "default"),
    [
        ("count", "a whole number, at least 1, at most 9", "3"),
        ("switch", "true or false", "true"),
        ("hosts", "a list, or a text with commas, of: a host name", "a, b"),
        ("delays", 'a list, or a text with commas, of: seconds, or as in "500ms", "90s", "5m", "1h"', "none"),
        ("colour", "red, blue", "red"),
        ("folder", "a path", "here"),
        ("url", "pg://...", "none"),
    ],
)
def test_a_type_is_described_in_words(name: str, allowed: str, default: str) -> None:
    """The table of settings says what may be written, and the default as it would be written."""
    row = next(row for row in settings(Table) if row.name == name)
    assert (row.allowed, row.default) == (allowed, default)


def test_importing_it_loads_nothing_heavy() -> None:
    """What only a file or a mistake needs is not imported before, as seen without the rest of the package."""
    code = (
        "import sys, types; package = types.ModuleType('supervisor'); package.__path__ = [sys.argv[1]];"
        "sys.modules['supervisor'] = package; import supervisor.config;"
        "print(*sorted({'asyncio', 'difflib', 'msgspec', 'tomllib'} & set(sys.modules)))"
    )
    folder = Path(supervisor.config.__file__).parents[1]
    command = [sys.executable, "-c", code, str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout.strip() == ""
