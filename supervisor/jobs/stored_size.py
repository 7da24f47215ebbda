"""How large arguments become in the database, where jsonb writes numbers like 1e300 with all their digits."""

from __future__ import annotations

import re
from typing import Final

from supervisor.errors import InvalidPayload

MOST_STORED: Final = 393_216
"""Bytes of jsonb as text that one job may have: 256 KiB, and its spaces. The functions of the schema refuse more."""

SMALL: Final = 7_000
"""Characters of JSON that cannot become too large: `1e308,` has six, and becomes 310."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_EXPONENT: Final = re.compile(r"\de[+-]?(\d+)")


def may_grow(text: str) -> bool:
    """Say whether JSON needs a closer look: it is long, and has a number with an exponent, or what looks like one."""
    return len(text) > SMALL and _EXPONENT.search(text) is not None


def check_stored(kind: str, text: str) -> None:
    """Raise InvalidPayload for JSON that would be too large in the database."""
    if may_grow(text) and (size := _stored(text)) > MOST_STORED:
        raise InvalidPayload(
            kind,
            "args",
            f"{size} bytes in the database, where numbers have all their digits; the limit is {MOST_STORED}",
            "pass such numbers as texts, or store the data elsewhere and pass a reference to it",
        )


def _stored(text: str) -> int:
    plain = _STRING.sub("", text)
    spaces = plain.count(",") + plain.count(":")
    return len(text.encode()) + spaces + sum(map(int, _EXPONENT.findall(plain)))
