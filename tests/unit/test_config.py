"""Settings: what is read from where, what is refused, and how every mistake is reported."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.config import (
    Config,
    Conflict,
    LogFormat,
    LogLevel,
    Secret,
    Setting,
    SettingsTable,
    load,
    read,
    settings,
)
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOWHERE = Path("/nonexistent")
HIDDEN = "hunter2"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(SettingsTable):
    """Every type that a setting may have."""

    count: Annotated[int, Setting("a whole number", ge=1, le=9)] = 3
    ratio: Annotated[float, Setting("a plain number", gt=0)] = 0.5
    wait: Annotated[float | None, Setting("a duration", unit="s")] = None
    switch: Annotated[bool, Setting("a switch")] = True
    hosts: Annotated[tuple[str, ...], Setting("names", pattern="[a-z.]+", form="a host name")] = ("a", "b")
    delays: Annotated[tuple[float, ...], Setting("durations", unit="s")] = ()
    colour: Annotated[Colour, Setting("a colour")] = Colour.RED
    folder: Annotated[Path, Setting("a folder")] = Path("here")
    text: Annotated[str, Setting("any text")] = ""
    url: Annotated[Secret | None, Setting("a secret", env="THE_URL", pattern="pg://.*", form="pg://...")] = None
    tokens: Annotated[tuple[Secret, ...], Setting("secrets", pattern="[a-z0-9]{7}")] = ()

    def conflicts(self) -> Iterator[Conflict]:
        if self.url is not None and self.count == 1:
            yield Conflict(("url", "count"), "needs a count above 1", "raise count")


def env(**values: str) -> dict[str, str]:
    """Return an environment with these settings."""
    return {f"SUPERVISOR_{name.upper()}": value for name, value in values.items()}


def loaded(flags: Mapping[str, object] | None = None, directory: Path = NOWHERE, **variables: str) -> Config:
    """Return the configuration that these flags, this folder and these variables give."""
    return load(flags=flags, environ=env(**variables), directory=directory)


def refusal(
    table: type[SettingsTable] = Config,
    *,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path = NOWHERE,
) -> str:
    """Return the message of the refusal, which must not carry another error with it: that one may quote a secret."""
    with pytest.raises(ConfigError) as caught:
        read(table, flags=flags, environ=environ or {}, directory=directory)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def written(folder: Path, text: str | bytes, name: str = "supervisor.toml") -> Path:
    """Write a file and return its folder."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


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


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("count = 9", 9),
        ("ratio = 2", 2.0),
        ("wait = 1.5", 1.5),
        ("wait = '5m'", 300.0),
        ("switch = false", False),
        ("hosts = ['a', 'b']", ("a", "b")),
        ("hosts = []", ()),
        ("delays = ['1h', 2]", (3600.0, 2.0)),
        ("'colour' = 'blue'", Colour.BLUE),
    ],
)
def test_a_toml_value_becomes_a_value(tmp_path: Path, line: str, value: object) -> None:
    """The file can say it in TOML's own types, with a byte order mark or without."""
    key = line.partition(" ")[0].strip("'")
    for mark in (b"", b"\xef\xbb\xbf"):
        written(tmp_path, mark + line.encode())
        assert getattr(read(Table, environ={}, directory=tmp_path).config, key) == value


def test_a_flag_may_have_its_final_type() -> None:
    """A command line that parses its flags itself can hand over the values."""
    flags = {"log_level": LogLevel.ERROR, "runtime_dir": Path("/run"), "loop_block_warn": 1, "trace_messages": True}
    assert loaded(flags) == Config(
        log_level=LogLevel.ERROR, runtime_dir=Path("/run"), loop_block_warn=1.0, trace_messages=True
    )


@pytest.mark.parametrize(
    ("key", "raw", "problem"),
    [
        ("app", "shop", "form"),
        ("app", "shop:", "form"),
        ("app", "a b:c", "form"),
        ("app", "shop:app\n", "form"),
        ("app", "shop.1:app", "form"),
        ("shutdown_timeout", "9.9", "at least 10 s: 7 s of it are reserved"),
        ("shutdown_timeout", "9900ms", "at least 10 s"),
        ("shutdown_timeout", "soon", "not a number"),
        ("shutdown_timeout", "30 d", "not a number"),
        ("shutdown_timeout", "s", "not a number"),
        ("shutdown_timeout", "nan", "not a finite number"),
        ("shutdown_timeout", "1e400", "not a finite number"),
        ("loop_block_warn", "0", "above 0 s"),
        ("loop_block_warn", "0ms", "above 0 s"),
        ("loop_block_limit", "-1s", "negative"),
        ("loop_block_limit", "-inf", "not a finite number"),
        ("loop_block_limit", "infinity", "not a finite number"),
        ("log_level", "warn", "none of these"),
        ("log_format", "xml", "none of these"),
        ("runtime_dir", "a\0b", "null character"),
        ("name", "Worker", "form"),
        ("name", "n" * 33, "form"),
        ("trace_messages", "maybe", "neither true nor false"),
        ("trace_messages", "2", "neither true nor false"),
    ],
)
def test_a_wrong_value_is_reported_in_full(key: str, raw: str, problem: str) -> None:
    """The message has the key, the value, the origin, the problem, what is allowed, and the remedy."""
    row = next(row for row in settings() if row.name == key)
    for message, origin in (
        (refusal(environ=env(**{key: raw})), f"environment SUPERVISOR_{key.upper()}"),
        (refusal(flags={key: raw}), f"flag --{key.replace('_', '-')}"),
    ):
        assert f"- {key} = {raw!r} ({origin}): " in message
        assert problem in message
        assert f"\n  allowed: {row.allowed}\n" in message
        assert f"\n  remedy: correct it, or leave it out for the default: {row.default}" in message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("count = true", "not a whole number"),
        ("count = 2.0", "not a whole number"),
        ("count = 10", "at most 9"),
        ("count = '0'", "at least 1"),
        ("count = 1" + "0" * 400, "at most 9"),
        ("ratio = 1" + "0" * 400, "finite"),
        ("ratio = false", "not a number"),
        ("ratio = '5s'", "not a number"),
        ("ratio = nan", "finite"),
        ("wait = 07:32:00", "not a number"),
        ("wait = [1]", "not a number"),
        ("wait = -0.1", "negative"),
        ("switch = 1", "neither true nor false"),
        ("hosts = 5", "not a list"),
        ("hosts = ['a', 5]", "not a text"),
        ("hosts = ['a', 'B']", "form"),
        ("delays = [1, 'x']", "not a number"),
        ("colour = 1", "not a text"),
        ("folder = ''", "empty"),
        ("folder = 1", "not a text"),
        ("text = 0x" + "f" * 9000, "not a text"),
        ("text" + ".a" * 3000 + " = 1", "not a text"),
    ],
)
def test_a_wrong_toml_value_is_reported_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    """The message names the line of the file, and shows no more of a value than a line takes."""
    message = refusal(Table, directory=written(tmp_path, f"# first\n\n{line}\n"))
    key, _, _ = line.partition(" ")
    assert f"- {key.partition('.')[0]} = " in message
    assert f"({tmp_path}/supervisor.toml line 3): " in message
    assert problem in message
    assert max(map(len, message.splitlines())) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("x = '''\ncount = 1\n'''\ncount = 0\n", "count", ""),
        ("count = 0\n[more]\ncount = 1\n", "count", ""),
        ("\r\n  'count'=0\r\n", "count", " line 2"),
        ("account = 1\n[[count]]\na = 1\n", "count", " line 2"),
        ("count.a = 1\n", "count", " line 1"),
    ],
)
def test_a_line_is_named_only_without_doubt(tmp_path: Path, text: str, key: str, line: str) -> None:
    """Where a plain search finds the key twice, the file alone is named."""
    message = refusal(Table, directory=written(tmp_path, text))
    mistake = next(part for part in message.splitlines() if part.startswith(f"- {key} = "))
    assert f"({tmp_path}/supervisor.toml{line}): " in mistake


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("name = 'a'\nname", 2, "not valid TOML"),
        ("name = 'a'\n\n[x\n", 3, "not valid TOML"),
        ("name = '''\nabc", 2, "not valid TOML"),
        ("name = 1\nname = 2\n", 2, "not valid TOML"),
        (b"# \n# \xff\n", 2, "not UTF-8"),
    ],
)
def test_a_malformed_file_is_reported_with_its_line(tmp_path: Path, text: str | bytes, line: int, problem: str) -> None:
    """A file that is no TOML is one mistake beside the others, and hides none of them."""
    message = refusal(directory=written(tmp_path, text), environ=env(name="A", loop_block_limit="0.4"))
    assert f"({tmp_path}/supervisor.toml line {line}): is {problem}" in message
    assert "- name = 'A' (environment SUPERVISOR_NAME)" in message
    assert "loop_block_limit" not in message, "what it conflicts with may stand in the file"


@pytest.mark.parametrize("text", ["name = " + "[" * 100_000, "name = " + "9" * 5000])
def test_a_hostile_file_is_a_mistake(tmp_path: Path, text: str) -> None:
    """A file that breaks the parser itself is reported like any other."""
    assert "nested too deeply" in refusal(directory=written(tmp_path, text))


def test_another_file_can_be_named(tmp_path: Path) -> None:
    """The flag names the file, else the variable does, and a relative path starts at the working directory."""
    written(tmp_path, "name = 'one'", "one.toml")
    written(tmp_path, "name = 'two'", "two.toml")
    written(tmp_path, "name = 'three'")
    assert loaded({"config": Path("two.toml")}, tmp_path, config="one.toml").name == "two"
    assert loaded({"config": tmp_path / "two.toml"}).name == "two"
    assert loaded(None, tmp_path, config="one.toml").name == "one"
    assert loaded(None, tmp_path, config="").name == "three"


@pytest.mark.parametrize(
    ("flag", "variable", "origin"),
    [
        ("lost.toml", "", "flag --config"),
        (".", "", "flag --config"),
        (5, "lost.toml", "flag --config"),
        (None, "lost.toml", "environment SUPERVISOR_CONFIG"),
        (None, "a\0b", "environment SUPERVISOR_CONFIG"),
        (None, "\ud800", "environment SUPERVISOR_CONFIG"),
    ],
)
def test_a_named_file_must_be_readable(tmp_path: Path, flag: object, variable: str, origin: str) -> None:
    """A file that was asked for and cannot be read is a mistake, whoever asked for it."""
    message = refusal(flags={"config": flag}, environ=env(config=variable), directory=tmp_path)
    assert "- config = " in message
    assert f"({origin}): cannot be read" in message


def test_the_default_file_must_be_readable_if_it_exists(tmp_path: Path) -> None:
    """Only a missing default file is no mistake."""
    (tmp_path / "supervisor.toml").mkdir()
    assert "(default): cannot be read: Is a directory" in refusal(directory=tmp_path)


@pytest.mark.parametrize(
    ("environ", "flags", "named", "remedy"),
    [
        ({"SUPERVISOR_LOG_LEVLE": "x"}, {}, "environment SUPERVISOR_LOG_LEVLE", "did you mean SUPERVISOR_LOG_LEVEL?"),
        ({"SUPERVISOR_app": "a:b"}, {}, "environment SUPERVISOR_app", "did you mean SUPERVISOR_APP?"),
        ({"SUPERVISOR_ZEBRA": "x"}, {}, "environment SUPERVISOR_ZEBRA", "remove it"),
        ({"SUPERVISOR_": "x"}, {}, "environment SUPERVISOR_", "remove it"),
        ({"SUPERVISOR_HTTP_PORT": "80"}, {}, "environment SUPERVISOR_HTTP_PORT", "remove it"),
        ({}, {"shutdown_timout": 5}, "flag --shutdown-timout", "did you mean --shutdown-timeout?"),
        ({}, {"a\nb": 5}, "flag '--a\\nb'", "remove it"),
    ],
)
def test_an_unknown_name_is_a_mistake(
    environ: dict[str, str], flags: dict[str, object], named: str, remedy: str
) -> None:
    """A misspelt setting is never ignored, and the likely one is suggested as its source spells it."""
    message = refusal(environ=environ, flags=flags)
    assert f"({named}): is not a setting" in message
    assert f"remedy: {remedy}" in message


@pytest.mark.parametrize(
    ("text", "named", "remedy"),
    [
        ("\nlog-level = 'info'", "log-level = (not shown) ({}/supervisor.toml line 2)", "did you mean log_level?"),
        ("NAME = 'a'", "NAME = (not shown) ({}/supervisor.toml line 1)", "did you mean name?"),
        ("[zebra]\nname = 'a'", "zebra = (not shown) ({}/supervisor.toml line 1)", "remove it"),
        ('"a\\nb" = 1', "'a\\nb' = (not shown) ({}/supervisor.toml)", "remove it"),
    ],
)
def test_an_unknown_key_of_the_file_is_a_mistake(tmp_path: Path, text: str, named: str, remedy: str) -> None:
    """The same holds for the file, with the line where it can be found."""
    message = refusal(directory=written(tmp_path, text))
    assert f"{named.format(tmp_path)}: is not a setting" in message
    assert f"remedy: {remedy}" in message


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


@pytest.mark.parametrize(
    ("variables", "blamed"),
    [
        ({"loop_block_limit": "0.5"}, "loop_block_limit = 0.5 (environment SUPERVISOR_LOOP_BLOCK_LIMIT)"),
        ({"loop_block_warn": "30"}, "loop_block_limit = 20.0 (default)"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(variables: dict[str, str], blamed: str) -> None:
    """The limit of a blocked loop must lie above the warning, and both values are shown with their origins."""
    message = refusal(environ=env(**variables))
    assert f"- {blamed}: must be above loop_block_warn; here loop_block_warn = " in message


def test_a_conflict_with_a_wrong_value_is_not_guessed_at() -> None:
    """A value that was refused takes no part in the checks across settings."""
    message = refusal(environ=env(loop_block_warn="x", loop_block_limit="0.1"))
    assert "(1)" in message
    assert "- loop_block_limit" not in message


def test_zero_switches_the_limit_of_a_blocked_loop_off() -> None:
    """Zero means no limit and so conflicts with nothing."""
    assert loaded(loop_block_limit="0", loop_block_warn="30").loop_block_limit == 0


def test_every_mistake_is_in_the_one_message(tmp_path: Path) -> None:
    """Each source reports all its mistakes, even those that a later source would override."""
    written(tmp_path, "name = 'A'\nlog_level = 1\nzebra = 1\n")
    message = refusal(environ=env(name="B", app="x"), flags={"name": "ok", "log_format": "C"}, directory=tmp_path)
    assert message.startswith("mistakes in the configuration (6):\n- ")
    assert [part.split(" ")[1] for part in message.splitlines() if part.startswith("- ")] == [
        *("name", "log_level", "zebra", "name", "app", "log_format")
    ]


@pytest.mark.parametrize(
    ("environ", "flags", "text"),
    [
        ({"THE_URL": HIDDEN}, {}, ""),
        ({"THE_URL": f"pg://{HIDDEN}\n"}, {}, ""),
        ({"THE_URL": f"pg://{HIDDEN}", "SUPERVISOR_COUNT": "1"}, {}, ""),
        ({"SUPERVISOR_TOKENS": f"{HIDDEN},short"}, {}, ""),
        ({"SUPERVISOR_TOKENZ": HIDDEN}, {}, ""),
        ({"SUPERVISOR_THE_URL": HIDDEN}, {}, ""),
        ({}, {"url": HIDDEN}, ""),
        ({}, {"urll": HIDDEN}, ""),
        ({}, {}, f"url = '{HIDDEN}'"),
        ({}, {}, f"url = ['{HIDDEN}']"),
        ({}, {}, f"ulr = '{HIDDEN}'"),
        ({}, {}, f"url = '{HIDDEN}"),
        ({}, {}, f"url = {HIDDEN}"),
    ],
)
def test_a_secret_is_never_in_a_message(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, object], text: str
) -> None:
    """The value of a secret, or of what may be one under a misspelt name, is masked in every mistake."""
    message = refusal(Table, environ=environ, flags=flags, directory=written(tmp_path, text))
    assert HIDDEN not in message
    assert "******" in message or "(not shown)" in message or "not valid TOML" in message


def test_a_secret_is_never_in_a_repr() -> None:
    """A configuration can be printed, formatted and turned into a dictionary; only `reveal` gives the secret."""
    config = read(Table, environ={"THE_URL": f"pg://{HIDDEN}"}, flags={"tokens": [HIDDEN]}, directory=NOWHERE).config
    assert config.url is not None
    assert config.url.reveal() == f"pg://{HIDDEN}"
    assert config.tokens[0].reveal() == HIDDEN
    for shown in (repr(config), str(config), f"{config.url}", f"{config.url!r}", str(dataclasses.asdict(config))):
        assert HIDDEN not in shown
    assert "url=******" in repr(config)
    assert [row.name for row in settings(Table) if row.secret] == ["url", "tokens"]


def test_the_settings_describe_themselves() -> None:
    """Every setting has what its documentation needs, and its own names for variable and flag."""
    rows = settings()
    assert [row.name for row in rows] == [row.name for row in dataclasses.fields(Config)]
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
    folder = Path(sys.modules[Config.__module__].__file__ or "").parent
    command = [sys.executable, "-c", code, str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout.strip() == ""


WRONG = {
    "app": st.text(st.characters(exclude_characters=":"), min_size=1),
    "shutdown_timeout": st.floats(max_value=9.99).map(str) | st.just("nan"),
    "loop_block_warn": st.floats(max_value=0.0).map(str),
    "loop_block_limit": st.floats(max_value=-0.01).map(lambda number: f"{number}h"),
    "log_level": st.sampled_from(["warn", "information", "10"]),
    "log_format": st.integers().map(str),
    "runtime_dir": st.text().map(lambda text: text + "\0"),
    "name": st.text(min_size=33) | st.from_regex(r"[A-Z_.]+", fullmatch=True),
    "trace_messages": st.text(st.characters(codec="ascii", categories=["Nd"]), min_size=2),
}
NAMES = st.sampled_from([row.env for row in settings()]) | st.text().map(lambda text: "SUPERVISOR_" + text) | st.text()
VALUES = st.text() | st.sampled_from(["1", "0", "info", "30s", "nan", "a:b", "\ud800", "on"]) | st.floats().map(str)


@given(environ=st.dictionaries(NAMES, VALUES), flags=st.dictionaries(st.text(), VALUES))
@example(environ={"SUPERVISOR_CONFIG": "\0"}, flags={})
@example(environ={"SUPERVISOR_\ud800\n": "\ud800"}, flags={})
def test_any_environment_loads_or_is_refused(environ: dict[str, str], flags: dict[str, object]) -> None:
    """No text, however strange, causes anything but a configuration or a printable `ConfigError`."""
    message = ""
    try:
        config = load(environ=environ, flags=flags, directory=NOWHERE)
    except ConfigError as error:
        message = str(error)
    else:
        assert config.shutdown_timeout >= 10
        assert config.loop_block_limit == 0 or config.loop_block_limit > config.loop_block_warn > 0
        assert isinstance(config.log_format, LogFormat)
    assert message.replace("\n", "").isprintable()


@given(
    st.sets(st.sampled_from(sorted(WRONG)), min_size=1).flatmap(
        lambda keys: st.fixed_dictionaries({key: WRONG[key] for key in keys})
    )
)
def test_every_key_given_wrong_is_named(wrong: dict[str, str]) -> None:
    """However many settings are wrong at once, the one message names each of them with its variable."""
    message = refusal(environ=env(**wrong))
    assert message.startswith(f"mistakes in the configuration ({len(wrong)}):")
    for key in wrong:
        assert f"- {key} = " in message
        assert f"(environment SUPERVISOR_{key.upper()}): " in message
