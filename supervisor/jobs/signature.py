"""Reads from a handler's signature what it takes: arguments of which type, and whether the context."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast, get_args, get_type_hints

from supervisor.errors import ConfigError
from supervisor.jobs.context import JobContext

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMS: Final = "def handler(args: Welcome, ctx: JobContext), where each of the two may be left out"
_POSITIONAL: Final = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD})
_MOST: Final = 2


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler takes; `args_type` is `NoneType` if it takes no arguments."""

    args_type: object
    takes_args: bool
    takes_context: bool


def signature_of(kind: str, function: object) -> Signature:
    """Inspect a handler; ConfigError says what about it cannot work."""
    plain = inspect.unwrap(cast("Callable[..., object]", function))
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise ConfigError(f"job {kind!r}: the handler contains `yield`: it must return when the work is done")
    if inspect.iscoroutinefunction(plain) and not inspect.iscoroutinefunction(function):
        raise ConfigError(
            f"job {kind!r}: the handler is an `async def` inside a plain wrapper: make the wrapper `async def` too"
        )
    parameters = list(inspect.signature(plain).parameters.values())
    if len(parameters) > _MOST or any(each.kind not in _POSITIONAL for each in parameters):
        names = ", ".join(str(each).partition(":")[0] for each in parameters)
        raise ConfigError(f"job {kind!r}: the handler takes ({names}): declare {_FORMS}")
    scope: dict[str, object] = getattr(plain, "__globals__", {})
    found = [(each, _annotation(each, scope)) for each in parameters]
    contexts = [_is_context(each, annotation) for each, annotation in found]
    match contexts:
        case []:
            return Signature(type(None), takes_args=False, takes_context=False)
        case [True]:
            return Signature(type(None), takes_args=False, takes_context=True)
        case [False] | [False, True]:
            return Signature(_args_type(kind, *found[0]), takes_args=True, takes_context=len(contexts) == _MOST)
        case _:
            names = ", ".join(each.name for each in parameters)
            raise ConfigError(f"job {kind!r}: the handler takes ({names}) in this order: declare {_FORMS}")


def _annotation(parameter: inspect.Parameter, scope: dict[str, object]) -> object:
    """Evaluate an annotation; what cannot be found at run time stays a NameError, for the caller to judge."""
    if parameter.annotation is inspect.Parameter.empty:
        return inspect.Parameter.empty
    holder = SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return get_type_hints(holder, scope, scope, include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        return error


def _is_context(parameter: inspect.Parameter, annotation: object) -> bool:
    if annotation is inspect.Parameter.empty:
        return parameter.name == "ctx"
    if isinstance(annotation, Exception):
        # Imported for type checkers only, which is usual: the names have to do.
        return parameter.name == "ctx" or re.search(r"\bJobContext\b", str(parameter.annotation)) is not None
    options = get_args(annotation) or (annotation,)
    return any(isinstance(each, type) and issubclass(each, JobContext) for each in options)


def _args_type(kind: str, parameter: inspect.Parameter, annotation: object) -> object:
    if annotation is inspect.Parameter.empty:
        raise ConfigError(
            f"job {kind!r}: parameter {parameter.name!r} has no annotation: declare its type, such as "
            f"`{parameter.name}: dict[str, int]` or a dataclass"
        )
    if isinstance(annotation, Exception):
        raise ConfigError(
            f"job {kind!r}: the annotation of {parameter.name!r}, {parameter.annotation!r}, cannot be evaluated "
            f"({annotation}): define the type at the top of a module and import it outside `if TYPE_CHECKING:`"
        ) from annotation
    return annotation
