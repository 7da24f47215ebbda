"""Tokens: who has one, making one, and revoking one. The text of a token is answered once, when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from supervisor.store import tokens
from supervisor.store.tokens import DAYS, Role, TokenScope, TokenState
from supervisor.web.refusal import forbidden, not_found
from supervisor.web.route import ADMIN_TOKENS, get, post
from supervisor.web.structs import Answer, Body, Moment, Name, Page, Params, Person, Reason
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody


class TokensWanted(Params, frozen=True, kw_only=True):
    """Which tokens: the valid ones, with `ended` also those that are expired or revoked."""

    ended: bool = False
    limit: Page = 100


class OneToken(Params, frozen=True, kw_only=True):
    """A token by its public id, the part between the underscores."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{12}$")]


class Token(Answer, frozen=True, kw_only=True):
    """What is known of a token; nothing of its secret. Null for all tenants or queues."""

    id: str
    name: str
    role: Role
    scopes: list[TokenScope]
    tenants: list[str] | None
    queues: list[str] | None
    created_at: Moment
    created_by: str
    expires_at: Moment
    last_used_at: Moment | None
    revoked_at: Moment | None
    state: TokenState


class Tokens(Answer, frozen=True, kw_only=True):
    """Tokens by name."""

    tokens: list[Token]
    timestamp: Moment


class TokenOrder(Body, frozen=True, kw_only=True):
    """A token that is to be made; without `scopes` it allows all that its role does."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
    role: Role
    scopes: Annotated[tuple[TokenScope, ...], msgspec.Meta(min_length=1, max_length=20)] | None = None
    tenants: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None
    queues: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None
    days: Annotated[float, msgspec.Meta(ge=0.01, le=3650)] = DAYS
    reason: Reason
    triggered_by: Person


class NewToken(Answer, frozen=True, kw_only=True):
    """A token that was just made: the only time that its text is shown."""

    id: str
    name: str
    expires_at: Moment
    token: str
    timestamp: Moment


class TokenRevocation(Body, frozen=True, kw_only=True):
    """Why it is revoked."""

    reason: Reason
    triggered_by: Person


class Revoked(Answer, frozen=True, kw_only=True):
    """A token that opens nothing any more."""

    id: str
    revoked: bool
    timestamp: Moment


async def list_tokens(call: Call[TokensWanted, NoBody]) -> Tokens:
    """List tokens."""
    async with call.site.link() as link:
        found = await tokens.listed(link, ended=call.params.ended, most=call.params.limit)
    return Tokens(tokens=[_token(one) for one in found], timestamp=now())


async def make_token(call: Call[Params, TokenOrder]) -> NewToken:
    """Make a token that allows no more than the caller's own."""
    order = call.body
    if not call.identity.may_make(order.role, order.scopes, order.tenants, order.queues):
        raise forbidden("too_much", "a token may allow no more than the one that makes it")
    async with call.site.link() as link:
        made = await tokens.create(
            link,
            order.name,
            role=order.role,
            actor=call.actor(order.triggered_by),
            reason=order.reason,
            scopes=order.scopes,
            tenants=order.tenants,
            queues=order.queues,
            days=order.days,
            source=call.source,
            request_id=call.request_id,
        )
    return NewToken(id=made.id, name=made.name, expires_at=made.expires_at, token=made.text, timestamp=now())


async def revoke_token(call: Call[OneToken, TokenRevocation]) -> Revoked:
    """Revoke a token, at once."""
    async with call.site.link() as link:
        done = await tokens.revoke(
            link,
            call.params.id,
            actor=call.actor(call.body.triggered_by),
            reason=call.body.reason,
            source=call.source,
            request_id=call.request_id,
        )
    if not done:
        raise not_found(f"there is no token {call.params.id} that could be revoked", "see /api/tokens?ended=true")
    return Revoked(id=call.params.id, revoked=True, timestamp=now())


def _token(one: tokens.Token) -> Token:
    return Token(
        id=one.id,
        name=one.name,
        role=one.role,
        scopes=sorted(one.scopes),
        tenants=None if one.tenants is None else sorted(one.tenants),
        queues=None if one.queues is None else sorted(one.queues),
        created_at=one.created_at,
        created_by=one.created_by,
        expires_at=one.expires_at,
        last_used_at=one.last_used_at,
        revoked_at=one.revoked_at,
        state=one.state,
    )


ROUTES: Final[Sequence[AnyRoute]] = (
    get("/api/tokens", list_tokens, Tokens, "Who has a token?", access=ADMIN_TOKENS, params=TokensWanted),
    post("/api/tokens", make_token, NewToken, "Make a token", access=ADMIN_TOKENS, body=TokenOrder),
    post(
        "/api/tokens/{id}/revoke",
        revoke_token,
        Revoked,
        "Revoke a token",
        access=ADMIN_TOKENS,
        params=OneToken,
        body=TokenRevocation,
    ),
)
