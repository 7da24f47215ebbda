"""Says who stands behind a bearer token, and what they may do.

A token is looked up for each request, so that a revoked one opens nothing from that moment on. What is compared are
digests, in constant time, also for an id that nobody has: the time of an answer tells nothing about either.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.store import tokens
from supervisor.store.job_rows import USUAL
from supervisor.store.tokens import SCOPES_OF, Role, TokenScope, TokenState

if TYPE_CHECKING:
    from collections.abc import Collection

    from supervisor.store.link import Link

_NOBODY: Final = tokens.digest_of("")
_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `token` is the public id of the token, or None; a filter that is None means all."""

    name: str
    role: Role
    scopes: frozenset[TokenScope]
    token: str | None = None
    tenants: frozenset[str] | None = None
    queues: frozenset[str] | None = None

    @property
    def is_confined(self) -> bool:
        """Whether it is for some tenants or queues only, and so can change nothing that concerns all."""
        return self.tenants is not None or self.queues is not None

    def is_at_least(self, role: Role) -> bool:
        """Say whether its role allows all that this one does."""
        return _RANK[self.role] >= _RANK[role]

    def may(self, scope: TokenScope) -> bool:
        """Say whether it has a scope, for whatever it covers."""
        return scope in self.scopes

    def covers(self, *, tenant: str | None = None, queue: str | None = None) -> bool:
        """Say whether something of this tenant and queue is its business; without either, what concerns all.

        One that is confined to tenants does not cover what has no tenant, and likewise for queues.
        """
        return (self.tenants is None or tenant in self.tenants) and (self.queues is None or queue in self.queues)

    def may_make(
        self,
        role: Role,
        scopes: Collection[TokenScope] | None,
        tenants: Collection[str] | None,
        queues: Collection[str] | None,
    ) -> bool:
        """Say whether it may make a token of this kind: never one that allows more than its own."""
        wanted = SCOPES_OF[role] if scopes is None else scopes
        return (
            self.may(TokenScope.TOKENS_ADMIN)
            and self.is_at_least(role)
            and self.scopes.issuperset(wanted)
            and _within(tenants, self.tenants)
            and _within(queues, self.queues)
        )


LOCAL: Final = Identity("local", Role.ADMIN, SCOPES_OF[Role.ADMIN])
"""Whoever reaches a server that is bound to the loopback address alone and asks for no tokens."""


def bearer_of(authorization: str | None) -> str | None:
    """Return what an Authorization header gives as a token (RFC 6750, 2.1); None without one, or of another scheme."""
    scheme, space, rest = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not space:
        return None
    return rest.strip(" ") or None


async def identify(link: Link, bearer: str, *, within: float = USUAL) -> Identity | None:
    """Return who holds this token; None if it is unknown, wrong, expired or revoked, which a caller is never told.

    Raises:
        DatabaseUnavailable: the database cannot be asked, so nobody can be let in.

    """
    public = tokens.public_id(bearer)
    if public is None:
        return None
    found = await tokens.of(link, public, within=within)
    equal = hmac.compare_digest(tokens.digest_of(bearer), _NOBODY if found is None else found.digest)
    if found is None or not equal or found.token.state is not TokenState.VALID:
        return None
    if found.stale:
        await tokens.touch(link, public, within=within)
    token = found.token
    return Identity(token.name, token.role, token.scopes & SCOPES_OF[token.role], token.id, token.tenants, token.queues)


def _within(wanted: Collection[str] | None, allowed: frozenset[str] | None) -> bool:
    return allowed is None or (wanted is not None and allowed.issuperset(wanted))
