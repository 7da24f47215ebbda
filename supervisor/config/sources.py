"""Reads a table of settings from its three sources: the file, the environment, the flags."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from supervisor.config.declared import Config
from supervisor.config.file import read_file
from supervisor.config.mistakes import mistake, printable, said, unknown
from supervisor.config.rows import PREFIX, settings
from supervisor.config.table import SettingsTable
from supervisor.config.values import WrongValueError
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from supervisor.config.file import Given
    from supervisor.config.rows import SettingInfo

    Flags = Mapping[str, object]
    Environ = Mapping[str, str]

# supervisord, which may well run us, sets the last four for its children.
_NOT_SETTINGS: Final = {
    PREFIX + name
    for name in (
        "CONFIG",
        "LANE",  # from a process to the one that it starts for suspect jobs; see process/lane.py
        "TEST_PG_MAJOR",  # which PostgreSQL our own tests run on
        "ENABLED",
        "SERVER_URL",
        "PROCESS_NAME",
        "GROUP_NAME",
    )
}
# Kubernetes sets these in every pod of a namespace with a service called `supervisor` or `supervisor-...`.
_SERVICE_LINK: Final = r"(?s)\w+_SERVICE_(HOST|PORT\w*)=.*|\w+_PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?=.*|=\w+://.*)"

T = TypeVar("T", bound=SettingsTable)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A configuration, and for every setting where its value came from (`default`: from nowhere else)."""

    config: T
    origins: Mapping[str, str]


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
    document, unreadable = read_file(command.pop("--config", None), environ.get(PREFIX + "CONFIG"), directory or Path())
    reading = _Reading(dict.fromkeys(rows, "default"), unreadable, suspect=set(rows) if unreadable else set())
    reading.take(document, rows)
    variables = {row.env: row for row in rows.values()}
    reading.take(_environment(environ, variables), variables)
    typed = [(flag, raw, f"flag {printable(flag)}") for flag, raw in command.items()]
    reading.take(typed, {row.flag: row for row in rows.values()})
    config = dataclasses.replace(table(), **reading.values)
    reading.combine(config, rows)
    if reading.mistakes:
        raise ConfigError("\n- ".join((f"mistakes in the configuration ({len(reading.mistakes)}):", *reading.mistakes)))
    return Loaded(config, reading.origins)


def _environment(environ: Environ, names: Mapping[str, SettingInfo]) -> Iterator[Given]:
    """Yield what the environment says; an empty variable is one that is not set."""
    for variable, raw in environ.items():
        others = not variable.startswith(PREFIX) or variable in _NOT_SETTINGS
        if raw and (variable in names or not (others or re.fullmatch(_SERVICE_LINK, f"{variable}={raw}"))):
            yield variable, raw, f"environment {printable(variable)}"


@dataclass(slots=True)
class _Reading:
    """What has been read so far: the valid values with their origins, and the mistakes."""

    origins: dict[str, str]
    mistakes: list[str]
    suspect: set[str]
    values: dict[str, object] = field(default_factory=dict)

    def take(self, given: Iterable[Given], names: Mapping[str, SettingInfo]) -> None:
        """Take what one source says; `names` maps its own names of the settings."""
        for key, raw, origin in given:
            if (row := names.get(key)) is None:
                self.mistakes.append(unknown(key, origin, names))
                continue
            try:
                self.values[row.name] = row.parse(raw)
                self.origins[row.name] = origin
            except WrongValueError as error:
                self.suspect.add(row.name)
                remedy = f"correct it, or leave it out for the default: {row.default}"
                self.mistakes.append(mistake(said(row, raw, origin), str(error), row.allowed, remedy))

    def combine(self, config: SettingsTable, rows: Mapping[str, SettingInfo]) -> None:
        """Report what does not go together, except where a part of it is wrong in itself."""
        for conflict in config.conflicts():
            if self.suspect.isdisjoint(conflict.keys):
                told = [said(rows[key], getattr(config, key), self.origins[key]) for key in conflict.keys]
                problem = "; here ".join((conflict.problem, *told[1:]))
                self.mistakes.append(mistake(told[0], problem, rows[conflict.keys[0]].allowed, conflict.remedy))
