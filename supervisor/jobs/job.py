"""`@job`: turns a function into a kind of job that can be enqueued, checked where it is declared."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from supervisor.errors import ConfigError
from supervisor.jobs import limits
from supervisor.jobs.payload import Payload
from supervisor.jobs.retry import DEFAULT, RetryPolicy
from supervisor.jobs.signature import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.jobs.context import JobContext
    from supervisor.jobs.retry import RetryFunction

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Isolation: TypeAlias = Literal["async", "thread", "process"]
"""Where a handler runs: on the event loop, in a thread, in a process of its own."""

_ISOLATIONS: Final = ("async", "thread", "process")
MAX_TIMEOUT: Final = limits.LONGEST


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Job(Generic[A]):
    """A kind of job: its handler, which takes arguments of type A, and its limits. Made by `@job`.

    kind: the name under which it is stored. queue: where it waits. service: what it is switched off with. max_attempts:
    runs that may fail before the job has failed. timeout: seconds for one run. retry: when it is tried again. changes:
    whether it changes anything; without, it also runs in mode `observe_only`. essential: it also runs in `safe_mode`.
    isolation: where the handler runs. invoke: calls the handler with what it takes of arguments and context.
    """

    kind: str
    queue: str
    service: str
    max_attempts: int
    timeout: float
    retry: RetryPolicy
    changes: bool
    essential: bool
    isolation: Isolation
    payload: Payload[A]
    invoke: Callable[[A, JobContext], object]
    is_async: bool

    @property
    def args_type(self) -> type[A]:
        """The declared type of the arguments; `NoneType` if the handler takes none."""
        return self.payload.args_type

    def encode(self, args: A) -> str:
        """Write arguments as JSON; InvalidPayload names the place that cannot be stored or that the handler refuses."""
        return self.payload.encode(args)

    def decode(self, text: str | bytes) -> A:
        """Read and validate arguments as the database gives them; raises InvalidPayload."""
        return self.payload.decode(text)

    def __repr__(self) -> str:
        return f"<Job {self.kind!r}, queue {self.queue!r}>"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Handler(Job[A], Generic[A, P, R_co]):
    """A job that can be called like the function it was made from: `await send_welcome(Welcome(7), ctx)`."""

    function: Callable[P, R_co] = field()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself, without a queue, limits or retries."""
        return self.function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function, where `inspect` and `doctest` look for it."""
        return self.function


class Declare(Protocol):
    """What `job(...)` returns: put above a function of `(args, ctx)`, `(args)`, `(ctx)` or `()`."""

    @overload
    def __call__(self, function: Callable[[], R], /) -> Handler[None, [], R]: ...
    @overload
    def __call__(self, function: Callable[[JobContext], R], /) -> Handler[None, [JobContext], R]: ...
    @overload
    def __call__(self, function: Callable[[A], R], /) -> Handler[A, [A], R]: ...
    @overload
    def __call__(self, function: Callable[[A, JobContext], R], /) -> Handler[A, [A, JobContext], R]: ...


def job(  # noqa: PLR0913 - each is one property of a job, all by keyword
    kind: str | None = None,
    *,
    queue: str = "default",
    service: str | None = None,
    max_attempts: int = 3,
    timeout: float = 300.0,
    retry: RetryPolicy | RetryFunction = DEFAULT,
    changes: bool = True,
    essential: bool = False,
    isolation: Isolation = "async",
) -> Declare:
    """Declare a function as the handler of a kind of job; see `Job` for the options.

    The function takes arguments (a dataclass, a msgspec.Struct or JSON types; annotated) and the context; each may be
    left out. `kind` defaults to its name, `service` to the queue. An `async def` runs on the event loop, a plain `def`
    in a thread. Nothing is registered: a job runs where an App lists it. Raises ConfigError for what cannot work.
    """
    if callable(kind):
        raise ConfigError(f"@job above {_name(kind)!r}: write @job() with parentheses")

    def declare(function: Callable[P, R]) -> Handler[object, P, R]:
        name = _kind(kind, function)
        owner = f"job {name!r}"
        taken = signature_of(name, function)
        is_async = inspect.iscoroutinefunction(function)
        return Handler(
            kind=name,
            queue=limits.label(owner, "queue", queue),
            service=limits.label(owner, "service", queue if service is None else service),
            max_attempts=limits.attempts(owner, "max_attempts", max_attempts),
            timeout=limits.seconds(owner, "timeout", timeout, least=limits.SHORTEST),
            retry=_policy(owner, retry),
            changes=limits.flag(owner, "changes", changes),
            essential=limits.flag(owner, "essential", essential),
            isolation=_isolation(owner, isolation, is_async=is_async),
            payload=Payload(name, cast("type[object]", taken.args_type)),
            invoke=_invoker(function, takes_args=taken.takes_args, takes_context=taken.takes_context),
            is_async=is_async,
            function=function,
        )

    return cast("Declare", declare)


def _kind(kind: object, function: object) -> str:
    if not inspect.isroutine(function):
        raise ConfigError(f"@job above {function!r}: must be a function, `async def` or `def`")
    if kind is not None:
        return limits.label(f"@job above {_name(function)!r}", "kind", kind)
    name = _name(function)
    if not name.isidentifier():
        raise ConfigError(f"@job: a function named {name!r} needs a kind: write job('send_welcome')(…)")
    return limits.label(f"@job above {name!r}", "kind", name)


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _policy(owner: str, retry: object) -> RetryPolicy:
    if isinstance(retry, RetryPolicy):
        return retry
    if callable(retry) and not isinstance(retry, type):
        return RetryPolicy.custom(cast("RetryFunction", retry))
    raise ConfigError(f"{owner}: retry={retry!r}: must be a RetryPolicy, or a function of (attempt, error)")


def _isolation(owner: str, isolation: object, *, is_async: bool) -> Isolation:
    if isolation not in _ISOLATIONS:
        raise ConfigError(f"{owner}: isolation={isolation!r}: must be one of {', '.join(_ISOLATIONS)}")
    if isolation == "thread" and is_async:
        raise ConfigError(f"{owner}: isolation='thread' is for a plain `def`; an `async def` runs on the event loop")
    if isolation == "async" and not is_async:
        return "thread"
    return isolation


def _invoker(
    function: Callable[..., object], *, takes_args: bool, takes_context: bool
) -> Callable[[object, JobContext], object]:
    match takes_args, takes_context:
        case True, True:
            return function
        case True, False:
            return lambda args, _context: function(args)
        case False, True:
            return lambda _args, context: function(context)
        case _:
            return lambda _args, _context: function()
