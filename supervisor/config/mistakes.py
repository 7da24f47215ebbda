"""Words the mistakes of a configuration: what, its value, where it stands, what is allowed, and the remedy."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Final

from supervisor.config.rows import PREFIX
from supervisor.config.table import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.config.rows import SettingInfo

_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def mistake(said: str, problem: str, allowed: str, remedy: str) -> str:
    """Write one mistake."""
    return f"{said}: {problem}\n  allowed: {allowed}\n  remedy: {remedy}"


def said(row: SettingInfo, value: object, origin: str) -> str:
    """Write what somebody said, and where; a secret is masked."""
    return f"{row.name} = {MASK if row.secret else _shown(value)} ({origin})"


def unknown(key: str, origin: str, names: Mapping[str, SettingInfo]) -> str:
    """Report a name that is no setting; its value stays hidden, for it may be a secret under a misspelt name."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    plain = key.removeprefix(PREFIX).removeprefix("--").lower().replace("-", "_")
    close = difflib.get_close_matches(plain, [row.name for row in names.values()], n=1)
    allowed, remedy = ", ".join(names), "remove it"
    for name, row in names.items():
        if row.name in close:
            allowed, remedy = f"{name}: {row.allowed}", f"did you mean {name}?"
    return mistake(f"{printable(key)} = (not shown) ({origin})", "is not a setting", allowed, remedy)


def printable(text: str) -> str:
    """Return a text as it is, or quoted and with escapes if it would not print."""
    return text if text.isprintable() else _shown(text)


def _shown(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer too long to print
        return "..."
