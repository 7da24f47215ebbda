"""Turns the result of a step into the text that is recorded, and back: what is accepted comes back equal."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from supervisor.errors import InvalidPayload
from supervisor.jobs.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import NoReturn

R = TypeVar("R")


def checked(kind: str, result: type[R] | None) -> None:
    """Raise ConfigError for a type that JSON cannot hold: before the step is run, not after."""
    _payload(kind, cast("Hashable", result))


def encode(kind: str, name: str, value: R, result: type[R] | None) -> str:
    """Write a result as JSON; raises InvalidPayload if it would not come back equal."""
    try:
        return _payload(kind, cast("Hashable", result)).encode(value)
    except InvalidPayload as error:
        _explain(error, name, value, result)


def decode(kind: str, name: str, text: str, result: type[R] | None) -> R:
    """Read a recorded result; raises InvalidPayload if it does not fit the type that is asked for now."""
    try:
        return cast("R", _payload(kind, cast("Hashable", result)).decode(text))
    except InvalidPayload as error:
        _explain(error, name, None, result)


@lru_cache(maxsize=256)
def _payload(kind: str, result: Hashable) -> Payload[Any]:
    # Without a type: whatever JSON gives. `NoneType` says no more than that, and would be stored as an object.
    return Payload(kind, object if result in (None, type(None)) else cast("type[Any]", result))


def _explain(error: InvalidPayload, name: str, value: object, result: object) -> NoReturn:
    remedy = error.remedy
    if result is None and error.path == "args" and remedy.startswith("declare"):
        remedy = f"name its type: ctx.step({name!r}, …, result={type(value).__name__})"
    path = f"result of step {name!r}{error.path.removeprefix('args')}"
    raise InvalidPayload(error.kind, path, error.reason, remedy) from error
