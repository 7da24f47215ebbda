"""`@job` takes every sensible handler, and refuses the rest where it is declared, with a remedy."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from supervisor.errors import ConfigError, InvalidPayload
from supervisor.jobs.context import JobContext, idempotency_key
from supervisor.jobs.job import Handler, Job, job
from supervisor.jobs.retry import DEFAULT, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from supervisor.jobs.context import Connection, StepMode
    from supervisor.jobs.limited import Spend
    from supervisor.store.control_rows import SafetyCheck

T = TypeVar("T")


@dataclass(frozen=True)
class Welcome:
    user_id: int


class Paper(JobContext):
    """A context of paper, for calls of handlers as plain functions."""

    __slots__ = ("_id",)

    attempt = lock_version = 1
    tenant = None
    deadline = 0.0

    def __init__(self, job_id: int = 7) -> None:
        self._id = job_id

    @property
    def id(self) -> int:
        return self._id

    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        *args: object,
        mode: StepMode = "idempotent",
        result: type[T] | None = None,
    ) -> T:
        return await fn(*args)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        raise NotImplementedError

    async def extend(self, seconds: float) -> None: ...

    async def progress(self, done: int, total: int | None = None) -> None: ...

    async def safety_check(
        self, *, service: str | None = None, tenant: str | None = None, requires_changes: bool | None = None
    ) -> SafetyCheck:
        raise NotImplementedError

    async def spend(self, limit: str, amount: float = 1.0, *, key: str | None = None, name: str | None = None) -> None:
        raise NotImplementedError

    def budget(
        self, limit: str, estimate: float, *, key: str | None = None, name: str | None = None
    ) -> AbstractAsyncContextManager[Spend]:
        raise NotImplementedError


@job(queue="mail", max_attempts=5, timeout=60, essential=True, changes=False)
async def send_welcome(args: Welcome, ctx: JobContext) -> int:
    """Take both."""
    return args.user_id * ctx.attempt


@job()
async def only_args(args: dict[str, int]) -> int:
    """Take arguments."""
    return args["a"]


@job()
async def only_context(ctx: JobContext) -> int:
    """Take the context."""
    return ctx.id


@job("nightly.clean-up", service="cleaner")
async def nothing() -> int:
    """Take nothing."""
    return 1


@job()
def plain(args: list[Welcome] | None, ctx: JobContext) -> int:
    """Take a union, in a thread."""
    return len(args or ()) + ctx.attempt


def test_the_defaults_are_those_of_the_documentation() -> None:
    """A job is named after its function and its service after its queue; the limits are the documented ones."""
    found = only_args
    assert (found.kind, found.queue, found.service) == ("only_args", "default", "default")
    assert (found.max_attempts, found.timeout, found.retry) == (3, 300.0, DEFAULT)
    assert (found.changes, found.essential, found.isolation) == (True, False, "async")


def test_the_options_are_kept() -> None:
    """What is said in the decorator is what the job is."""
    assert (send_welcome.queue, send_welcome.service, send_welcome.max_attempts) == ("mail", "mail", 5)
    assert (send_welcome.timeout, send_welcome.essential, send_welcome.changes) == (60.0, True, False)
    assert (nothing.kind, nothing.queue, nothing.service) == ("nightly.clean-up", "default", "cleaner")
    assert repr(send_welcome) == "<Job 'send_welcome', queue 'mail'>"


def test_a_job_is_frozen() -> None:
    """A job cannot be changed after it was checked."""
    with pytest.raises(FrozenInstanceError):
        send_welcome.queue = "other"  # type: ignore[misc]


async def test_a_job_is_called_like_its_function() -> None:
    """In a plain test the handler is a plain function."""
    context = Paper()
    assert await send_welcome(Welcome(7), context) == 7
    assert await only_args({"a": 3}) == 3
    assert await only_context(context) == 7
    assert await nothing() == 1
    assert plain([Welcome(1)], context) == 2
    assert list(inspect.signature(send_welcome).parameters) == ["args", "ctx"]


async def test_the_runtime_calls_all_handlers_alike() -> None:
    """`invoke` takes arguments and context and passes on what the handler wants."""
    context = Paper()
    awaited: list[tuple[Job[Any], object, int]] = [
        (send_welcome, Welcome(7), 7),
        (only_args, {"a": 3}, 3),
        (only_context, None, 7),
        (nothing, None, 1),
    ]
    for each, args, expected in awaited:
        assert each.is_async
        result = each.invoke(args, context)
        assert inspect.isawaitable(result)
        assert await result == expected
    assert (plain.is_async, plain.isolation, plain.invoke([], context)) == (False, "thread", 1)


@pytest.mark.parametrize(
    ("handler", "args_type"),
    [
        (send_welcome, Welcome),
        (only_args, dict[str, int]),
        (only_context, type(None)),
        (nothing, type(None)),
        (plain, list[Welcome] | None),
    ],
)
def test_the_type_of_the_arguments_is_the_annotation(handler: Job[Any], args_type: object) -> None:
    """Arguments are checked against the annotation of the handler's parameter."""
    assert handler.args_type == args_type


def test_arguments_are_checked_by_type() -> None:
    """A job encodes and decodes its own arguments and refuses others by the name of its kind."""
    assert send_welcome.decode(send_welcome.encode(Welcome(7))) == Welcome(7)
    assert (nothing.encode(None), only_context.encode(None)) == ("{}", "{}")
    with pytest.raises(InvalidPayload, match=r"job 'send_welcome': args\.user_id: Expected `int`, got `str`"):
        send_welcome.encode(Welcome("7"))  # type: ignore[arg-type]


def test_a_context_that_only_type_checkers_see_is_known_by_its_name() -> None:
    """A handler whose module imports JobContext for type checkers alone works: its name is enough."""
    program = (
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from supervisor.jobs.job import job\n"
        "if TYPE_CHECKING:\n    import supervisor\n    from supervisor import JobContext\n"
        "@job()\nasync def one(args: int, context: JobContext) -> None: ...\n"
        "@job()\nasync def two(context: supervisor.JobContext | None) -> None: ...\n"
        "print(one.args_type.__name__, two.args_type.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["int", "NoneType"]


def test_a_function_is_a_retry_policy() -> None:
    """`retry` takes a function of (attempt, error) as well as a policy."""

    @job(retry=lambda attempt, _error: attempt * 1.5)
    async def custom() -> None: ...

    @job(retry=RetryPolicy.fixed(5))
    async def fixed() -> None: ...

    assert custom.retry.function is not None
    assert fixed.retry == RetryPolicy.fixed(5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": ""}, "kind has 0 characters"),
        ({"kind": "x" * 129}, "kind has 129 characters"),
        ({"kind": "send mail"}, "kind='send mail'"),
        ({"kind": "a\0"}, r"kind='a\\x00'"),
        ({"kind": 3}, "kind=3"),
        ({"queue": ""}, "queue has 0 characters"),
        ({"queue": None}, "queue=None"),
        ({"service": "a\n"}, r"service='a\\n'"),
        ({"max_attempts": 0}, "max_attempts=0"),
        ({"max_attempts": 2.0}, "max_attempts=2.0"),
        ({"max_attempts": True}, "max_attempts=True"),
        ({"max_attempts": 32768}, "max_attempts=32768"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"timeout": None}, "timeout=None"),
        ({"retry": 3}, "retry=3"),
        ({"retry": RetryPolicy}, "retry=<class"),
        ({"changes": "no"}, "changes='no'"),
        ({"essential": 1}, "essential=1"),
        ({"isolation": "moon"}, "isolation='moon': must be one of async, thread, process"),
        ({"isolation": "thread"}, "isolation='thread' is for a plain `def`"),
    ],
)
def test_an_impossible_option_is_refused(options: Mapping[str, Any], named: str) -> None:
    """A ConfigError names the job, the field, its value and what it must be."""
    with pytest.raises(ConfigError, match=f"handler'.*{named}"):

        @job(**options)
        async def handler() -> None: ...


async def _without(args: int) -> None: ...


def test_a_forgotten_pair_of_parentheses_is_named() -> None:
    """`@job` without parentheses says what to write."""
    with pytest.raises(ConfigError, match=r"@job above '_without': write @job\(\)"):
        job(_without)  # type: ignore[arg-type]


def test_a_lambda_with_a_kind_is_a_handler() -> None:
    """What has no name of its own can be given one."""
    made: Handler[None, [], None] = job("nop")(lambda: None)
    assert (made.kind, made.isolation) == ("nop", "thread")


def test_an_idempotency_key_is_stable() -> None:
    """The key is the same in each attempt and each version; it differs by job, by name and by namespace."""
    assert Paper(7).idempotency_key("charge") == "65dd74e017d12287467272c5fb06618e"
    keys = {idempotency_key(*what) for what in ((7, "charge"), (8, "charge"), (7, "refund"), (7, ""), (71, ":"))}
    keys |= {idempotency_key(7, "charge", namespace=place) for place in ("a", "b", "7")}
    assert len(keys) == 8
