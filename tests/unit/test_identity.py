"""What somebody behind a token may do, and how the token is read from a request."""

from __future__ import annotations

import pytest

from supervisor.store.tokens import SCOPES_OF, Role, TokenScope
from supervisor.web.identity import LOCAL, Identity, bearer_of

ADMIN = Identity("ana", Role.ADMIN, SCOPES_OF[Role.ADMIN])
OPERATOR = Identity("bob", Role.OPERATOR, SCOPES_OF[Role.OPERATOR])
OF_ACME = Identity("acme", Role.ADMIN, SCOPES_OF[Role.ADMIN], tenants=frozenset({"acme"}))
OF_MAIL = Identity("mail", Role.VIEWER, SCOPES_OF[Role.VIEWER], queues=frozenset({"mail"}))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER  abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("Bearerabc", None),
        ("abc", None),
        ("", None),
        (None, None),
    ],
)
def test_the_token_of_a_request(header: str | None, token: str | None) -> None:
    """The scheme is read in any case, and nothing but a bearer token is taken for one."""
    assert bearer_of(header) == token


def test_roles_are_in_order() -> None:
    """Each role is at least those before it."""
    assert [[role for role in Role if who.is_at_least(role)] for who in (OF_MAIL, OPERATOR, LOCAL)] == [
        [Role.VIEWER],
        [Role.VIEWER, Role.OPERATOR],
        list(Role),
    ]


@pytest.mark.parametrize(
    ("who", "tenant", "queue", "covered"),
    [
        (ADMIN, None, None, True),
        (ADMIN, "acme", "mail", True),
        (OF_ACME, "acme", "mail", True),
        (OF_ACME, "other", "mail", False),
        (OF_ACME, None, "mail", False),
        (OF_ACME, None, None, False),
        (OF_MAIL, "acme", "mail", True),
        (OF_MAIL, None, "default", False),
        (OF_MAIL, "acme", None, False),
    ],
)
def test_what_somebody_covers(who: Identity, tenant: str | None, queue: str | None, covered: bool) -> None:
    """Who is confined to tenants or queues covers these, and nothing that belongs to others or to all."""
    assert who.covers(tenant=tenant, queue=queue) is covered
    assert who.is_confined is (who.tenants is not None or who.queues is not None)


def test_scopes_are_asked_for_one_by_one() -> None:
    """A scope that was not given is not had, whatever the role."""
    narrow = Identity("ci", Role.ADMIN, frozenset({TokenScope.JOBS_READ}))
    assert narrow.may(TokenScope.JOBS_READ)
    assert not narrow.may(TokenScope.SWITCH_WRITE)


@pytest.mark.parametrize(
    ("who", "role", "scopes", "tenants", "queues", "allowed"),
    [
        (ADMIN, Role.ADMIN, None, None, None, True),
        (OPERATOR, Role.VIEWER, None, None, None, False),
        (OF_ACME, Role.VIEWER, None, ["acme"], None, True),
        (OF_ACME, Role.VIEWER, None, ["acme", "other"], None, False),
        (OF_ACME, Role.VIEWER, None, None, None, False),
        (
            Identity("x", Role.ADMIN, frozenset({TokenScope.TOKENS_ADMIN, TokenScope.JOBS_READ})),
            Role.OPERATOR,
            [TokenScope.JOBS_READ],
            None,
            None,
            True,
        ),
        (
            Identity("x", Role.ADMIN, frozenset({TokenScope.TOKENS_ADMIN})),
            Role.OPERATOR,
            [TokenScope.JOBS_READ],
            None,
            None,
            False,
        ),
        (
            Identity("x", Role.OPERATOR, frozenset({TokenScope.TOKENS_ADMIN, TokenScope.JOBS_READ})),
            Role.ADMIN,
            [TokenScope.JOBS_READ],
            None,
            None,
            False,
        ),
    ],
)
def test_nobody_makes_more_than_they_have(  # noqa: PLR0913, PLR0917 - one case has as many parts
    who: Identity,
    role: Role,
    scopes: list[TokenScope] | None,
    tenants: list[str] | None,
    queues: list[str] | None,
    allowed: bool,
) -> None:
    """A token that allows more than its maker's, in role, scope or filter, is not theirs to make."""
    assert who.may_make(role, scopes, tenants, queues) is allowed
