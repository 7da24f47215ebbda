"""The settings file: which one is read, what its values become, and which line is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config import read
from tests.unit.setting_sources import Colour, Table, env, loaded, refusal, written


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
