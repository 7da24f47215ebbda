"""Reads JSON that can mean one thing only, and that PostgreSQL can keep.

Python's reader takes what other readers refuse or read otherwise: duplicate keys (RFC 8259, 4), NaN, half of a
surrogate pair (8.2). jsonb takes no null character.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from supervisor.web.refusal import Refusal, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

DEEPEST: Final = 32
"""Objects and lists that may stand inside each other."""
_QUOTED: Final = 60


def read_json(body: bytes) -> Json:
    """Return what the bytes say. Raises Refusal; it names the key or the place that is wrong."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise bad_request("not_utf8", f"the body is not UTF-8: byte {error.start} begins no character") from None
    try:
        found: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise bad_request("not_json", f"the body is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # of int(), which reads no more than some thousand digits
        raise bad_request("number_too_long", "the body has a number with too many digits") from None
    _check(found, "", 0)
    return found


def check_text(text: str, field: str) -> None:
    """Raise Refusal for a text that cannot be kept."""
    if "\0" in text:
        raise bad_request("null_character", "a text has a null character in it", field=field, remedy="leave it out")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise bad_request("lone_surrogate", "a text has half of a character in it", field=field, remedy="correct it")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise bad_request(
            "duplicate_key", "the body has a key twice", field=twice[:_QUOTED], remedy="say it once: readers differ"
        )
    return found


def _float(text: str) -> float | int:
    """Read 13.0 as 13: to JSON Schema it is an integer."""
    number = float(text)
    if not math.isfinite(number):
        raise bad_request("number_too_large", f"the number {text[:_QUOTED]} is too large")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _constant(text: str) -> NoReturn:
    raise bad_request("not_json", f"{text} is no number in JSON")


def _check(value: Json, field: str, depth: int) -> None:
    if depth > DEEPEST:
        raise _too_deep()
    if isinstance(value, str):
        check_text(value, field)
    elif isinstance(value, dict):
        for key, inner in value.items():
            place = f"{field}.{key[:_QUOTED]}" if field else key[:_QUOTED]
            check_text(key, place.encode("utf-8", "replace").decode().replace("\0", "?"))
            _check(inner, place, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check(inner, f"{field}[{index}]", depth + 1)


def _too_deep() -> Refusal:
    return bad_request("too_deep", f"the body has objects or lists more than {DEEPEST} deep in each other")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
