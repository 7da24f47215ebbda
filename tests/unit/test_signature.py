"""Handlers that `@job` can take, and those that it refuses with a remedy."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import msgspec
import pytest

from supervisor.errors import ConfigError, InvalidPayload
from supervisor.jobs.context import JobContext  # noqa: TC001 - one of the annotations is evaluated
from supervisor.jobs.job import job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from supervisor.jobs.context import JobContext as Context
    from supervisor.jobs.outcomes import Decision as Unseen


class Handlers:
    """Functions as users might write them."""

    @staticmethod
    async def generating() -> AsyncIterator[int]:
        yield 1

    @staticmethod
    def generating_plainly() -> Iterator[int]:
        yield 1

    @staticmethod
    async def three(a: int, b: int, c: int) -> None: ...

    @staticmethod
    async def swapped(ctx: JobContext, args: int) -> None: ...

    @staticmethod
    async def two(a: int, b: int) -> None: ...

    @staticmethod
    async def bare(args) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    @staticmethod
    async def keyword(*, args: int) -> None: ...

    @staticmethod
    async def variable(*args: int) -> None: ...

    @staticmethod
    async def unseen(args: Unseen) -> None: ...

    @staticmethod
    async def aliased(args: int, ctx: Context) -> None: ...

    @staticmethod
    async def optional(args: int, context: JobContext | None) -> None: ...

    @staticmethod
    async def untyped(args: int, ctx) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    @staticmethod
    async def annotated(args: Annotated[int, msgspec.Meta(ge=1)]) -> None: ...

    @staticmethod
    async def a_set(args: set[int]) -> None: ...

    @staticmethod
    async def fine(args: int) -> None: ...

    async def method(self, args: int) -> None: ...

    async def __call__(self, args: int) -> None: ...


def wrapped(function: Callable[[int], object]) -> object:
    """Wrap a handler in a plain function, as a careless decorator does."""

    @functools.wraps(function)
    def wrapper(args: int) -> object:
        return function(args)

    return wrapper


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Handlers.generating, "contains `yield`"),
        (Handlers.generating_plainly, "contains `yield`"),
        (Handlers.three, r"takes \(a, b, c\): declare def handler"),
        (Handlers.swapped, r"takes \(ctx, args\) in this order"),
        (Handlers.two, r"takes \(a, b\) in this order"),
        (Handlers.bare, "'args' has no annotation"),
        (Handlers.keyword, r"takes \(args\): declare"),
        (Handlers.variable, r"takes \(\*args\): declare"),
        (Handlers.unseen, "the annotation of 'args', 'Unseen', cannot be evaluated .*name 'Unseen' is not defined"),
        (Handlers.a_set, "args: a set has no place in JSON"),
        (wrapped(Handlers.fine), "inside a plain wrapper"),
        (Handlers.method, r"takes \(self, args\)"),
        (Handlers(), "must be a function"),
        (Handlers, "must be a function"),
        (3, "must be a function"),
        (lambda: None, "a function named '<lambda>' needs a kind"),
    ],
)
def test_an_impossible_handler_is_refused(function: Callable[[int], object], message: str) -> None:
    """A ConfigError says what about the function cannot work and how to write it."""
    with pytest.raises(ConfigError, match=message):
        job()(function)


@pytest.mark.parametrize("function", [Handlers.aliased, Handlers.optional, Handlers.untyped])
def test_a_context_is_known_by_its_type_or_its_name(function: Callable[[int, JobContext], object]) -> None:
    """A parameter that is annotated with the context, or is called `ctx` where nothing else is known, gets it."""
    made = job()(function)
    assert made.args_type is int
    assert made.invoke is function


def test_limits_in_the_annotation_hold() -> None:
    """What `msgspec.Meta` says about the arguments is checked."""
    made = job()(Handlers.annotated)
    assert made.decode("1") == 1
    with pytest.raises(InvalidPayload, match="Expected `int` >= 1"):
        made.encode(0)
