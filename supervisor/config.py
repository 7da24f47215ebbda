"""Settings: one declared table, read once from file, environment and flags, with every mistake in one message.

`Config` is the table: a setting is one field with a type, a default and a `Setting`; parsing, messages and the
documentation follow from it. `supervisor.toml` comes first, then `SUPERVISOR_<NAME>`, then flags; later wins, but a
wrong value is refused even where a later source overrides it. A relative path is below the working directory.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import re
import reprlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Flags = Mapping[str, object]
    Environ = Mapping[str, str]
    _Given = tuple[str, object, str]  # a name, its value as written, and where that stands

_FILE, _PREFIX, _MASK = "supervisor.toml", "SUPERVISOR_", "******"
# supervisord, which may well run us, sets the last four for its children.
_NOT_SETTINGS = {_PREFIX + name for name in ("CONFIG", "ENABLED", "SERVER_URL", "PROCESS_NAME", "GROUP_NAME")}
_NOT_SETTINGS.add("SUPERVISOR_TEST_PG_MAJOR")  # which PostgreSQL our own tests run on
# Kubernetes sets these in every pod of a namespace with a service called `supervisor` or `supervisor-...`.
_SERVICE_LINK = r"(?s)\w+_SERVICE_(HOST|PORT\w*)=.*|\w+_PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?=.*|=\w+://.*)"
_WORDS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


class Secret:
    """A text that never shows itself: `str` and `repr` give a mask. A setting of this type is a secret setting."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself; to be called only where it is used."""
        return self._value

    def __repr__(self) -> str:
        return _MASK


@dataclass(frozen=True, slots=True)
class Setting:
    """What the type of a setting does not say.

    `unit="s"` makes a float a duration: never negative, and 500ms, 30s, 5m, 1h are understood. `pattern` must match a
    whole text, and `form` says it in words; `why` explains the bounds; `env` is for a name not `SUPERVISOR_<NAME>`.
    """

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    unit: Literal["s"] | None = None
    pattern: str | None = None
    form: str = "text"
    why: str | None = None
    env: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Settings that are each fine but do not go together; `problem` is what is wrong with the first of `keys`."""

    keys: tuple[str, ...]
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SettingsTable:
    """Base of a table of settings: a dataclass whose fields are `Annotated[type, Setting(...)]` with a default.

    A type is bool, int, float, str, Path, Secret or a StrEnum of lower-case values, or `X | None`, or `tuple[X, ...]`.
    """

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between settings; what concerns a setting that is wrong in itself is not reported."""
        yield from ()


T = TypeVar("T", bound=SettingsTable)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A configuration, and for every setting where its value came from (`default`: from nowhere else)."""

    config: T
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One row of a table of settings as people read it; `parse` makes a value of what they wrote."""

    name: str
    allowed: str
    default: str
    env: str
    flag: str
    help: str
    secret: bool
    parse: Callable[[object], object] = field(repr=False, compare=False)


class _WrongError(Exception):
    """What is wrong with a value. It never quotes the value, which may be a secret."""


def _shown(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer too long to print
        return "..."


def _printable(text: str) -> str:
    return text if text.isprintable() else _shown(text)


def _line_of(key: str, text: str) -> str:
    """Return ` line N` for a key of the top level, or nothing when a plain search leaves a doubt."""
    start = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    found = [number for number, line in enumerate(text.split("\n"), 1) if start.match(line)]
    return f" line {found[0]}" if len(found) == 1 else ""


def _info(name: str, default: object, kind: type, setting: Setting) -> SettingInfo:
    many, inner = get_origin(kind) is tuple, get_args(kind)
    one: type = inner[0] if inner else kind  # of `X | None` and of `tuple[X, ...]` it is X
    number = 'seconds, or as in "500ms", "90s", "5m", "1h"' if setting.unit == "s" else "a number"
    words = {bool: "true or false", int: "a whole number", float: number, Path: "a path"}
    allowed = ", ".join(one) if issubclass(one, StrEnum) else words.get(one, setting.form)
    allowed += "".join(f", {word} {bound:g}" for word, bound, _ in _bounds(setting))
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return SettingInfo(
        name=name,
        allowed=f"a list, or a text with commas, of: {allowed}" if many else allowed,
        default=text.lower() if isinstance(default, bool) else text if text and default is not None else "none",
        env=setting.env or _PREFIX + name.upper(),
        flag="--" + name.replace("_", "-"),
        help=setting.help,
        secret=one is Secret,
        parse=lambda raw: _many(raw, one, setting) if many else _one(raw, one, setting),
    )


def _bounds(setting: Setting) -> list[tuple[str, float, Callable[[float, float], bool]]]:
    low, above, high = setting.ge, setting.gt, setting.le
    every = (("at least", low, operator.ge), ("above", above, operator.gt), ("at most", high, operator.le))
    return [(word, bound, holds) for word, bound, holds in every if bound is not None]


def _many(raw: object, kind: type, setting: Setting) -> tuple[object, ...]:
    items = [item for item in map(str.strip, raw.split(",")) if item] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple):
        raise _WrongError("is not a list")
    return tuple(_one(item, kind, setting) for item in items)


def _one(raw: object, kind: type, setting: Setting) -> object:
    if kind is not bool:
        return _number(raw, kind, setting) if kind in {int, float} else _text(raw, kind, setting)
    value = _WORDS.get(raw.strip().lower()) if isinstance(raw, str) else raw
    if not isinstance(value, bool):
        raise _WrongError("is neither true nor false")
    return value


def _number(raw: object, kind: type, setting: Setting) -> float:
    noun = "is not a whole number" if kind is int else "is not a number"
    scale = 1.0
    if isinstance(raw, str) and setting.unit == "s":
        raw = raw.strip()
        unit = next((unit for unit in _SECONDS if raw.endswith(unit)), "")
        raw, scale = raw.removesuffix(unit), _SECONDS.get(unit, 1.0)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float) or (kind is int and isinstance(raw, float)):
        raise _WrongError(noun)
    try:
        value = int(raw) if kind is int else round(float(raw) * scale, 9)  # 9ms is 0.009, not 0.009000000000000001
    except ValueError:
        raise _WrongError(noun) from None
    except OverflowError:
        value = math.inf
    if not abs(value) < math.inf:
        raise _WrongError("is not a finite number")
    if setting.unit == "s" and value < 0:
        raise _WrongError("is negative")
    for word, bound, holds in _bounds(setting):
        if not holds(value, bound):
            why = f": {setting.why}" if setting.why else ""
            raise _WrongError(f"is not {word} {bound:g}{' s' if setting.unit else ''}{why}")
    return value


def _text(raw: object, kind: type, setting: Setting) -> object:
    raw = str(raw) if isinstance(raw, Path) and kind is Path else raw
    if not isinstance(raw, str):
        raise _WrongError("is not a text")
    if issubclass(kind, StrEnum):
        raw = raw.strip().lower()
        if raw not in list(kind):
            raise _WrongError("is none of these")
    if kind is Path and (not raw or "\0" in raw):
        raise _WrongError("is empty or contains a null character")
    if setting.pattern is not None and not re.fullmatch(setting.pattern, raw):
        raise _WrongError("does not have the required form")
    return kind(raw)


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look; `auto` is human on a terminal and json elsewhere."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


_APP = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
_APP_FORM, _NAME_FORM = "module:attribute, as in shop:app", "1 to 32 of a-z, 0-9 and -"
_WHY_10 = "7 s of it are reserved for the steps after the drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SettingsTable):
    """The settings of one process; durations are in seconds."""

    app: Annotated[str | None, Setting("the application to run", pattern=_APP, form=_APP_FORM)] = None
    shutdown_timeout: Annotated[
        float, Setting("all the time that a shutdown may take, to the end of the process", ge=10, unit="s", why=_WHY_10)
    ] = 60.0
    loop_block_warn: Annotated[float, Setting("log the stack of a loop blocked for so long", gt=0, unit="s")] = 0.5
    loop_block_limit: Annotated[float, Setting("end a process blocked for so long; 0 means never", unit="s")] = 20.0
    log_level: Annotated[LogLevel, Setting("the least severe events that are logged")] = LogLevel.INFO
    log_format: Annotated[LogFormat, Setting("auto is human on a terminal and json elsewhere")] = LogFormat.AUTO
    runtime_dir: Annotated[Path | None, Setting("the folder of the local introspection socket")] = None
    name: Annotated[str | None, Setting("name in logs and sockets", pattern="[a-z0-9-]{1,32}", form=_NAME_FORM)] = None
    trace_messages: Annotated[bool, Setting("trace every message between actors")] = False

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between settings: the one place for checks of more than one field."""
        if 0 < self.loop_block_limit <= self.loop_block_warn:
            remedy = "raise the limit, lower loop_block_warn, or set the limit to 0 for none"
            yield Conflict(("loop_block_limit", "loop_block_warn"), "must be above loop_block_warn", remedy)


def settings(table: type[SettingsTable] = Config) -> tuple[SettingInfo, ...]:
    """Describe every setting of a table, in its order, for documentation and `--help`."""
    hints = get_type_hints(table, include_extras=True)
    return tuple(_info(row.name, row.default, *get_args(hints[row.name])) for row in dataclasses.fields(table))


def load(*, flags: Flags | None = None, environ: Environ | None = None, directory: Path | None = None) -> Config:
    """Return the configuration of this process; sources and errors are those of `read`."""
    return read(Config, flags=flags, environ=environ, directory=directory).config


def read(
    table: type[T], *, flags: Flags | None = None, environ: Environ | None = None, directory: Path | None = None
) -> Loaded[T]:
    """Read a table of settings from file, environment and flags.

    `flags` has the names of the fields, and `config` for the path of the file; None is a flag that was not given.
    `environ` is the process's own by default, and `directory`, where the file is looked for, the working directory.

    Raises:
        ConfigError: anything is wrong; the message names every mistake with its origin and remedy.

    """
    rows = {row.name: row for row in settings(table)}
    environ = os.environ if environ is None else environ
    command = {"--" + name.replace("_", "-"): raw for name, raw in (flags or {}).items() if raw is not None}
    document, unreadable = _file(command.pop("--config", None), environ.get(_PREFIX + "CONFIG"), directory or Path())
    reading = _Reading(dict.fromkeys(rows, "default"), unreadable, suspect=set(rows) if unreadable else set())
    reading.take(document, rows)
    variables = {row.env: row for row in rows.values()}
    reading.take(_environment(environ, variables), variables)
    typed = [(flag, raw, f"flag {_printable(flag)}") for flag, raw in command.items()]
    reading.take(typed, {row.flag: row for row in rows.values()})
    config = dataclasses.replace(table(), **reading.values)
    reading.combine(config, rows)
    if reading.mistakes:
        raise ConfigError("\n- ".join((f"mistakes in the configuration ({len(reading.mistakes)}):", *reading.mistakes)))
    return Loaded(config, reading.origins)


@dataclass(slots=True)
class _Reading:
    """What has been read so far: the valid values with their origins, and the mistakes."""

    origins: dict[str, str]
    mistakes: list[str]
    suspect: set[str]
    values: dict[str, object] = field(default_factory=dict)

    def take(self, given: Iterable[_Given], names: Mapping[str, SettingInfo]) -> None:
        """Take what one source says; `names` maps its own names of the settings."""
        for key, raw, origin in given:
            if (row := names.get(key)) is None:
                self.mistakes.append(_unknown(key, origin, names))
                continue
            try:
                self.values[row.name] = row.parse(raw)
                self.origins[row.name] = origin
            except _WrongError as error:
                self.suspect.add(row.name)
                remedy = f"correct it, or leave it out for the default: {row.default}"
                self.mistakes.append(_mistake(_said(row, raw, origin), str(error), row.allowed, remedy))

    def combine(self, config: SettingsTable, rows: Mapping[str, SettingInfo]) -> None:
        """Report what does not go together, except where a part of it is wrong in itself."""
        for conflict in config.conflicts():
            if self.suspect.isdisjoint(conflict.keys):
                said = [_said(rows[key], getattr(config, key), self.origins[key]) for key in conflict.keys]
                problem = "; here ".join((conflict.problem, *said[1:]))
                self.mistakes.append(_mistake(said[0], problem, rows[conflict.keys[0]].allowed, conflict.remedy))


def _mistake(said: str, problem: str, allowed: str, remedy: str) -> str:
    return f"{said}: {problem}\n  allowed: {allowed}\n  remedy: {remedy}"


def _said(row: SettingInfo, value: object, origin: str) -> str:
    return f"{row.name} = {_MASK if row.secret else _shown(value)} ({origin})"


def _unknown(key: str, origin: str, names: Mapping[str, SettingInfo]) -> str:
    """Report a name that is no setting; its value stays hidden, for it may be a secret under a misspelt name."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    plain = key.removeprefix(_PREFIX).removeprefix("--").lower().replace("-", "_")
    close = difflib.get_close_matches(plain, [row.name for row in names.values()], n=1)
    allowed, remedy = ", ".join(names), "remove it"
    for name, row in names.items():
        if row.name in close:
            allowed, remedy = f"{name}: {row.allowed}", f"did you mean {name}?"
    return _mistake(f"{_printable(key)} = (not shown) ({origin})", "is not a setting", allowed, remedy)


def _environment(environ: Environ, names: Mapping[str, SettingInfo]) -> Iterator[_Given]:
    """Yield what the environment says; an empty variable is one that is not set."""
    for variable, raw in environ.items():
        others = not variable.startswith(_PREFIX) or variable in _NOT_SETTINGS
        if raw and (variable in names or not (others or re.fullmatch(_SERVICE_LINK, f"{variable}={raw}"))):
            yield variable, raw, f"environment {_printable(variable)}"


def _file(flag: object, variable: str | None, directory: Path) -> tuple[list[_Given], list[str]]:
    """Return what the file says, and the mistake if it cannot be read; it need not exist if nothing names it."""
    import tomllib  # noqa: PLC0415 - as slow to import as half of this module

    named, origin = (variable, f"environment {_PREFIX}CONFIG") if variable else (_FILE, "default")
    named, origin = (str(flag), "flag --config") if flag is not None else (named, origin)
    label = _printable(str(directory / named))
    text = ""
    try:
        text = (directory / named).read_bytes().decode("utf-8-sig")
        return [(key, raw, label + _line_of(key, text)) for key, raw in tomllib.loads(text).items()], []
    except OSError as error:
        if origin == "default" and isinstance(error, FileNotFoundError):
            return [], []
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem, origin = "is not UTF-8", f"{label} line {error.object[: error.start].count(10) + 1}"
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        problem, origin = f"is not valid TOML: {error}", f"{label} line {line}"
    except (ValueError, RecursionError):
        problem = "cannot be read: no file has such a name, or it has a number too long, or values nested too deeply"
    remedy = f"correct it, or go without it: {_FILE} is optional"
    return [], [_mistake(f"config = {label} ({origin})", problem, "the path of a TOML file in UTF-8", remedy)]
