"""One entry of the route table: what it takes and answers, who may ask, and who does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from supervisor.store.tokens import Role, TokenScope
from supervisor.web.structs import Answer, Body, NoBody, NoParams, Params

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from supervisor.web.call import Call

P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=Body)

JSON: Final = "application/json"


class Method(StrEnum):
    """What may be done to a path. GET also answers HEAD."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing."""
        return self is Method.GET


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask: at least this role, with this scope if there is one; `role` None: anybody.

    `confined`: also a token that is for some tenants or queues only, since the handler looks whether it covers what is
    asked for.
    """

    role: Role | None
    scope: TokenScope | None = None
    confined: bool = False


ANYBODY: Final = Access(None)
LOOK: Final = Access(Role.VIEWER)
READ_JOBS: Final = Access(Role.VIEWER, TokenScope.JOBS_READ, confined=True)
WRITE_JOBS: Final = Access(Role.OPERATOR, TokenScope.JOBS_WRITE, confined=True)
RECOVER: Final = Access(Role.OPERATOR, TokenScope.JOBS_WRITE)
SWITCH: Final = Access(Role.OPERATOR, TokenScope.SWITCH_WRITE)
SWITCH_CONFINED: Final = Access(Role.OPERATOR, TokenScope.SWITCH_WRITE, confined=True)
CONTROL_QUEUES: Final = Access(Role.OPERATOR, TokenScope.QUEUES_CONTROL, confined=True)
READ_AUDIT: Final = Access(Role.OPERATOR, TokenScope.AUDIT_READ)
WRITE_LIMITS: Final = Access(Role.ADMIN, TokenScope.LIMITS_WRITE)
ADMIN_TOKENS: Final = Access(Role.ADMIN, TokenScope.TOKENS_ADMIN)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status or headers of its own, or one that is not JSON."""

    answer: Answer | bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Outcome: TypeAlias = Answer | Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[P, B]):
    """`path` has its parameters in braces; `answer` is what status 200 has, or a content type that is not JSON.

    `others` are further statuses and what they answer, besides errors.
    """

    method: Method
    path: str
    summary: str
    handler: Callable[[Call[P, B]], Awaitable[Outcome]]
    access: Access
    answer: type[Answer] | str
    params: type[P]
    body: type[B]
    others: Mapping[HTTPStatus, type[Answer]] = field(default_factory=dict)

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path."""
        return tuple(self.path.removeprefix("/").split("/"))


AnyRoute: TypeAlias = Route[Any, Any]


def get(  # noqa: PLR0913 - the columns of the table
    path: str,
    handler: Callable[[Call[P, NoBody]], Awaitable[Outcome]],
    answer: type[Answer] | str,
    summary: str,
    *,
    access: Access,
    params: type[P] = NoParams,  # type: ignore[assignment]  # a TypeVar has no default before Python 3.13
    others: Mapping[HTTPStatus, type[Answer]] | None = None,
) -> Route[P, NoBody]:
    """Make a route that changes nothing."""
    return Route(
        method=Method.GET,
        path=path,
        summary=summary,
        handler=handler,
        access=access,
        answer=answer,
        params=params,
        body=NoBody,
        others=others or {},
    )


def post(  # noqa: PLR0913 - the columns of the table
    path: str,
    handler: Callable[[Call[P, B]], Awaitable[Outcome]],
    answer: type[Answer],
    summary: str,
    *,
    access: Access,
    params: type[P] = NoParams,  # type: ignore[assignment]
    body: type[B] = NoBody,  # type: ignore[assignment]
    method: Method = Method.POST,
) -> Route[P, B]:
    """Make a route that changes something."""
    return Route(
        method=method,
        path=path,
        summary=summary,
        handler=handler,
        access=access,
        answer=answer,
        params=params,
        body=body,
    )
