"""Settings that are refused: every mistake is reported, and no secret with it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.config import LogFormat, load, read, settings
from supervisor.errors import ConfigError
from tests.unit.setting_sources import HIDDEN, NOWHERE, Table, env, refusal, written

if TYPE_CHECKING:
    from pathlib import Path


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
        ("concurrency", "0", "at least 1"),
        ("concurrency", "10001", "at most 10000"),
        ("threads", "many", "not a whole number"),
        ("queues", "a b", "form"),
        ("lease", "999ms", "at least 1 s"),
        ("lease", "2h", "at most 3600 s"),
        ("heartbeat", "0", "at least 0.1 s"),
        ("poll", "1ms", "at least 0.01 s"),
        ("max_losses", "0", "at least 1"),
        ("history_days", "0", "at least 1"),
        ("drain_timeout", "-1", "negative"),
        ("database_wait", "2h", "at most 3600 s"),
        ("data_dir", "a\0b", "null character"),
        ("migrate", "later", "neither true nor false"),
        ("schema", "Jobs", "form"),
        ("schema", "1st", "form"),
        ("schema", "job-s", "form"),
        ("schema", "jobs\n", "form"),
        ("schema", "s" * 41, "form"),
        ("schema", "pg_jobs", "form"),
        ("schema", "order", "form"),
        ("schema", "information_schema", "form"),
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
    ("environ", "flags", "named", "remedy"),
    [
        ({"SUPERVISOR_LOG_LEVLE": "x"}, {}, "environment SUPERVISOR_LOG_LEVLE", "did you mean SUPERVISOR_LOG_LEVEL?"),
        ({"SUPERVISOR_app": "a:b"}, {}, "environment SUPERVISOR_app", "did you mean SUPERVISOR_APP?"),
        ({"SUPERVISOR_ZEBRA": "x"}, {}, "environment SUPERVISOR_ZEBRA", "remove it"),
        ({"SUPERVISOR_": "x"}, {}, "environment SUPERVISOR_", "remove it"),
        ({"SUPERVISOR_COLOUR": "80"}, {}, "environment SUPERVISOR_COLOUR", "remove it"),
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
    "concurrency": st.integers(max_value=0).map(str) | st.integers(min_value=10_001).map(str),
    "lease": st.floats(max_value=0.99).map(str),
    "schema": st.from_regex(r"pg_[a-z]*|[0-9][a-z]*|[a-z]{41}", fullmatch=True),
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
        assert config.heartbeat * 2 < config.lease
        assert config.poll <= config.idle_poll
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
