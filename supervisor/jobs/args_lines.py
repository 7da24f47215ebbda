"""Reads the arguments of one job from one line of text: a JSON value, or a bare id."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import msgspec
from msgspec import inspect as shapes

from supervisor.errors import InvalidPayload
from supervisor.jobs.payload import Payload

if TYPE_CHECKING:
    from supervisor.jobs.job import Job

A = TypeVar("A")

_SHOWN: Final = 40
_read: Final = msgspec.json.Decoder().decode


class LineReader(Generic[A]):
    """Reads lines for one kind of job.

    With the job itself, a line is checked against the type of its handler's arguments, and may be a bare value: it
    is the arguments, or the only required field of them; it is taken as JSON if that fits (`7`, `true`), else as text
    (`7` for a str, `order-7`). Without the job only the kind is known, and a line must be a JSON object or array.
    """

    __slots__ = ("_bare", "_payload")

    def __init__(self, payload: Payload[A], bare: _Bare) -> None:
        self._payload = payload
        self._bare = bare

    @classmethod
    def of(cls, job: Job[A]) -> LineReader[A]:
        """Read lines for this job."""
        return cls(job.payload, _bare_of(job.payload))

    def read(self, line: str) -> A:
        """Return the arguments that a line holds; it is stripped, not empty and no comment. Raises InvalidPayload."""
        if line[0] in "{[" or self._payload.is_empty:
            return self._payload.decode(line)
        kind = self._payload.kind
        if self._bare.problem is not None:
            raise InvalidPayload(kind, "args", f"{_short(line)} {self._bare.problem}", self._bare.remedy)
        wrong = _json_problem(line)
        if line[0] == '"' and wrong is not None:
            raise InvalidPayload(kind, "args", f"{_short(line)} begins a JSON text: {wrong}", "close it")
        texts = [line] if wrong is None else []
        if line[0] != '"':
            texts.append(json.dumps(line))
        return self._first_that_fits(texts)

    def _first_that_fits(self, texts: list[str]) -> A:
        """Decode the first text, or else the second; if neither fits, the first says why."""
        try:
            return self._payload.decode(self._bare.wrapped(texts[0]))
        except InvalidPayload:
            if len(texts) > 1:
                with contextlib.suppress(InvalidPayload):
                    return self._payload.decode(self._bare.wrapped(texts[1]))
            raise

    def check(self, args: A) -> str:
        """Write the arguments as they will be stored; raises InvalidPayload for what cannot be."""
        return self._payload.encode(args)


def untyped(kind: str) -> LineReader[object]:
    """Read lines for a job of which only the kind is known."""
    return LineReader(
        Payload(kind, cast("type[object]", Any)),
        _Bare(
            problem="is a bare value: only the type of the handler's arguments says what it stands for",
            remedy="name the application with --app module:name, or write a JSON object",
        ),
    )


class _Bare(msgspec.Struct, frozen=True):
    """What a bare value stands for: the arguments, a field of them, or nothing, with the reason and the remedy."""

    field: str | None = None
    problem: str | None = None
    remedy: str = ""

    def wrapped(self, text: str) -> str:
        return text if self.field is None else f"{{{json.dumps(self.field)}:{text}}}"


def _bare_of(payload: Payload[A]) -> _Bare:
    if payload.is_empty:
        return _Bare()
    match shapes.type_info(payload.args_type):
        case shapes.StructType(array_like=False) | shapes.DataclassType() | shapes.TypedDictType() as record:
            required = [field.encode_name for field in record.fields if field.required]
            if len(required) == 1:
                return _Bare(field=required[0])
            has = f"requires {', '.join(required)}" if required else "requires no field"
            return _Bare(
                problem=f"is a bare value, which stands for the only required field; {record.cls.__name__} {has}",
                remedy="write a JSON object",
            )
        case _:
            return _Bare()


def _json_problem(line: str) -> str | None:
    try:
        _read(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return str(error)
    return None


def _short(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…")
