"""Turns the arguments of a job into the text that jsonb stores, and back: what is accepted comes back equal."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import msgspec

from supervisor.errors import InvalidPayload
from supervisor.jobs.args_type import shape_of
from supervisor.jobs.unstorable import MAX_DEPTH, Problem, find

if TYPE_CHECKING:
    from collections.abc import Callable

A = TypeVar("A")

MAX_BYTES: Final = 256 * 1024
"""The most bytes of JSON that the arguments of one job may take."""

_write: Final = msgspec.json.Encoder().encode
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_EXPONENT: Final = re.compile(rb"\de[+\d]")
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_QUOTED: Final = re.compile(r"Invalid (?:enum )?value ")
_PLACE: Final = re.compile(r" - at (?:`key` in )?`\$(.*)`$")


class Empty(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of a handler that takes none, as they are stored: `{}`."""


class Payload(Generic[A]):
    """Encodes and decodes the arguments of one kind of job.

    Integers of any size are exact, as jsonb's `numeric` is. Floats are exact too, but one of 1e16 or more comes back
    as an int from a place whose type does not say float. Key order and repeated keys do not survive jsonb; neither can
    come from Python values. Raises ConfigError for a type that JSON cannot hold.
    """

    __slots__ = ("_decode", "_shape", "args_type", "kind")

    def __init__(self, kind: str, args_type: type[A]) -> None:
        self.kind = kind
        self.args_type = args_type
        self._shape = shape_of(kind, args_type)
        # `None` is stored as an object without fields: it is what a plain SQL enqueue stores, and can grow fields.
        stored: object = Empty | None if args_type in (None, type(None)) else args_type
        decoder: msgspec.json.Decoder[A] = msgspec.json.Decoder(cast("type[A]", stored))
        self._decode: Callable[[str | bytes], A] = decoder.decode

    @property
    def is_empty(self) -> bool:
        """Whether the handler takes no arguments."""
        return self.args_type in (None, type(None))

    def encode(self, args: A) -> str:
        """Write arguments as JSON; raises InvalidPayload, and has then done nothing, if they would not come back equal.

        The check decodes what it wrote, so that a payload is refused where it is made and not where it is run.
        """
        if self.is_empty:
            return self._encode_nothing(args)
        try:
            data = _write(args)
        except Exception as error:  # noqa: BLE001 - a hostile property may raise anything: nothing of it is stored
            raise self._explained(args, error) from _cause(error)
        self._check_text(args, data)
        text = data.decode()
        try:
            back = self._decode(_through_jsonb(data) if self._shape.loose and _EXPONENT.search(data) else text)
        except Exception as error:  # noqa: BLE001 - the same, for code that a class runs when it is made
            raise self._explained(args, error) from _cause(error)
        if back != args or self._shape.blind:
            problem = find(args, back)
            if problem is not None:
                raise self._refusal(problem)
        return text

    def decode(self, text: str | bytes) -> A:
        """Read and validate arguments as the database gives them; InvalidPayload if the handler cannot take them."""
        try:
            args = self._decode(text)
        except Exception as error:  # noqa: BLE001 - the same
            path, reason = _place(error)
            raise InvalidPayload(
                self.kind, path, reason, "correct the arguments, or the type that the handler declares"
            ) from _cause(error)
        return cast("A", None) if isinstance(args, Empty) else args

    def _encode_nothing(self, args: A) -> str:
        if args is not None:
            raise InvalidPayload(self.kind, "args", f"the handler takes none, not {type(args).__name__}", "pass None")
        return "{}"

    def _check_text(self, args: A, data: bytes) -> None:
        """Refuse what can be seen in the text, and look closer where the text leaves a doubt."""
        if len(data) > MAX_BYTES:
            raise InvalidPayload(
                self.kind,
                "args",
                f"{len(data)} bytes of JSON; the limit is {MAX_BYTES} (256 KiB)",
                "store the data elsewhere and pass a reference to it",
            )
        if b"\\u0000" in data or (data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(data) > MAX_DEPTH):
            problem = find(args)
            if problem is not None:
                raise self._refusal(problem)

    def _explained(self, args: A, error: Exception) -> InvalidPayload:
        """Name the cause of a failed encoding: the first value that cannot be stored, or else what msgspec says."""
        problem = find(args)
        if problem is not None:
            return self._refusal(problem)
        path, reason = _place(error)
        return InvalidPayload(self.kind, path, reason, "pass what the handler declares")

    def _refusal(self, problem: Problem) -> InvalidPayload:
        return InvalidPayload(self.kind, problem.path, problem.reason, problem.remedy)


def _depth(data: bytes) -> int:
    """Count the brackets that are open at the deepest place, those in strings aside."""
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)))


def _through_jsonb(data: bytes) -> str:
    """Write JSON as jsonb gives it back: a large float has become a whole number with all its digits."""
    return json.dumps(json.loads(data, parse_float=_as_numeric))


def _as_numeric(text: str) -> int | float:
    return int(Decimal(text)) if "e" in text and "e-" not in text else float(text)


def _cause(error: Exception) -> BaseException | None:
    """Return what to chain: what msgspec itself says has been told, and may quote a value, which may be a secret."""
    return error.__cause__ if isinstance(error, msgspec.ValidationError) else error


def _place(error: Exception) -> tuple[str, str]:
    """Split the message of a failed decoding into the path and the reason, without the value."""
    reason = str(error) or type(error).__name__
    found = _PLACE.search(reason)
    path, reason = (f"args{found[1]}", reason[: found.start()]) if found else ("args", reason)
    is_quoted = error.__cause__ is None and _QUOTED.match(reason) is not None
    return path, "the value is none of those that are declared" if is_quoted else reason
