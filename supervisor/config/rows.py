"""Describes a table of settings row by row, for documentation, for `--help`, and for reading it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, get_args, get_origin, get_type_hints

from supervisor.config import values
from supervisor.config.declared import Config
from supervisor.config.table import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.config.table import Setting, SettingsTable

PREFIX: Final = "SUPERVISOR_"


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


def settings(table: type[SettingsTable] = Config) -> tuple[SettingInfo, ...]:
    """Describe every setting of a table, in its order, for documentation and `--help`.

    A field without a `Setting` is none: a program sets it, and people cannot.
    """
    hints = get_type_hints(table, include_extras=True)
    fields = [(field, hints[field.name]) for field in dataclasses.fields(table)]
    return tuple(_row(row.name, row.default, *get_args(hint)) for row, hint in fields if get_origin(hint) is Annotated)


def _row(name: str, default: object, kind: type, setting: Setting) -> SettingInfo:
    many, inner = get_origin(kind) is tuple, get_args(kind)
    one: type = inner[0] if inner else kind  # of `X | None` and of `tuple[X, ...]` it is X
    number = 'seconds, or as in "500ms", "90s", "5m", "1h"' if setting.unit == "s" else "a number"
    words = {bool: "true or false", int: "a whole number", float: number, Path: "a path"}
    allowed = ", ".join(one) if issubclass(one, StrEnum) else words.get(one, setting.form)
    allowed += "".join(f", {word} {bound:g}" for word, bound, _ in values.bounds(setting))
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return SettingInfo(
        name=name,
        allowed=f"a list, or a text with commas, of: {allowed}" if many else allowed,
        default=text.lower() if isinstance(default, bool) else text if text and default is not None else "none",
        env=setting.env or PREFIX + name.upper(),
        flag="--" + name.replace("_", "-"),
        help=setting.help,
        secret=one is Secret,
        parse=lambda raw: values.many(raw, one, setting) if many else values.one(raw, one, setting),
    )
