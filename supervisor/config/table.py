"""What a table of settings is made of: fields with a type, a default and a `Setting`, and checks across them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK: Final = "******"


class Secret:
    """A text that never shows itself: `str` and `repr` give a mask. A setting of this type is a secret setting."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself; to be called only where it is used."""
        return self._value

    def __repr__(self) -> str:
        return MASK


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
    """Base of a table of settings: a dataclass in which a setting is `Annotated[type, Setting(...)]` with a default.

    A type is bool, int, float, str, Path, Secret or a StrEnum of lower-case values, or `X | None`, or `tuple[X, ...]`.
    """

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between settings; what concerns a setting that is wrong in itself is not reported."""
        yield from ()
