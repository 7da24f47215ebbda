"""Makes the typed parts of a request from what was sent, and says of a mistake which field it is in."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from supervisor.web.refusal import Refusal, bad_request, invalid
from supervisor.web.strict_json import check_text, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.web.structs import Body, Params

P = TypeVar("P", bound="Params")
B = TypeVar("B", bound="Body")

_MOST_FIELDS: Final = 50
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<place>.*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"^Object (?P<fault>contains unknown|missing required) field `(?P<name>.*)`$", re.DOTALL)
_PATTERN: Final = "matching regex"
_QUOTED: Final = 200


def body_of(sent: bytes, kind: type[B]) -> B:
    """Read a body; nothing at all is an empty object. Raises Refusal."""
    found = read_json(sent) if sent.strip() else {}
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise _mistake(str(error), kind) from None


def params_of(path: Mapping[str, str], query: str, kind: type[P]) -> P:
    """Read what stands in the path and after the question mark. Raises Refusal."""
    found = dict(path)
    for name, value in _pairs(query):
        if name in found:
            raise bad_request("duplicate_parameter", "a parameter is there twice", field=name, remedy="say it once")
        found[name] = value
    for name, value in found.items():
        check_text(name, "the name of a parameter")
        check_text(value, name)
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _mistake(str(error), kind) from None


def unquoted(segment: str) -> str:
    """Read one part of a path. Raises Refusal."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise bad_request("not_utf8", "the path is not UTF-8 once its %XX are decoded") from None


def _pairs(query: str) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:  # also UnicodeDecodeError
        raise bad_request(
            "bad_query", "what follows the question mark cannot be read", remedy="write it as name=value&name=value"
        ) from None


def _mistake(text: str, kind: type[Body | Params]) -> Refusal:
    """Say what msgspec found: its messages end with a JSON path."""
    found = _PLACE.match(text)
    what, place = (found["what"], found["place"] or "") if found is not None else (text, "")
    fault = _FIELD.match(what)
    if fault is None:
        if _PATTERN in what:
            what = "must not be blank, nor have control characters in it"
        what = what[:1].lower() + what[1:]
        choices = ", ".join(_choices(kind, place))
        return invalid(place or None, f"{place or 'the body'}: {what}", f"it is one of {choices}" if choices else None)
    name = fault["name"]
    field = f"{place}.{name}" if place else name
    if fault["fault"] == "missing required":
        return invalid(field, f"{field} is missing", f"add {name}")
    known = [each.encode_name for each in msgspec.structs.fields(kind)]
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"
    return invalid(field[:_QUOTED], f"{field[:_QUOTED]} is not known here", meant)


def _choices(kind: type[Body | Params], place: str) -> Sequence[str]:
    """List what a field may be, if that is a closed set."""
    for field in msgspec.structs.fields(kind):
        if field.encode_name == place:
            schema = msgspec.json.schema(field.type)
            known = [schema, *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
            return [str(value) for part in known for value in part.get("enum", ())]
    return ()
