"""Statements on the tokens that open the HTTP interface: made, listed, looked up and revoked.

A token is `sup_<id>_<secret>`. The database keeps the SHA-256 of the whole of it and nothing that could be turned back
into it: the secret has 256 random bits, so that a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, cast

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from asyncpg import Record

    from supervisor.store.link import Link


class Role(StrEnum):
    """Who a token's holder is. Each may do what the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class TokenScope(StrEnum):
    """One thing that a token allows."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    QUEUES_CONTROL = "queues:control"
    SWITCH_WRITE = "switch:write"
    LIMITS_WRITE = "limits:write"
    AUDIT_READ = "audit:read"
    TOKENS_ADMIN = "tokens:admin"


_VIEWER: Final = frozenset({TokenScope.JOBS_READ})
_OPERATOR: Final = _VIEWER | {
    TokenScope.JOBS_WRITE,
    TokenScope.QUEUES_CONTROL,
    TokenScope.SWITCH_WRITE,
    TokenScope.AUDIT_READ,
}
SCOPES_OF: Final = {Role.VIEWER: _VIEWER, Role.OPERATOR: _OPERATOR, Role.ADMIN: frozenset(TokenScope)}
"""The most that a role allows, and what a token of it allows unless it is made for less."""

DAYS: Final = 90.0
"""How long a token is valid unless it is made for another time."""

_FORM: Final = re.compile(r"sup_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_LENGTH: Final = 4 + 12 + 1 + 43
_ALPHABET: Final = string.ascii_lowercase + string.digits
_COLUMNS: Final = (
    "id, name, role, scopes, tenants, queues, created_at, created_by, expires_at, last_used_at, revoked_at, state"
)
_CREATE: Final = "SELECT expires_at FROM supervisor.create_token($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_REVOKE: Final = "SELECT supervisor.revoke_token($1, $2, $3, $4, $5)"
_OF: Final = f"SELECT {_COLUMNS}, digest, stale FROM supervisor.token_of($1)"  # noqa: S608 - constants
_TOUCH: Final = "SELECT supervisor.touch_token($1)"
_ALL: Final = (
    f"SELECT {_COLUMNS} FROM supervisor.token_list WHERE $1 OR state = 'valid' "  # noqa: S608 - constants
    "ORDER BY name, created_at, id LIMIT $2"
)
_ANY: Final = "SELECT EXISTS (SELECT FROM supervisor.token_list WHERE state = 'valid')"
_MOST: Final = 1000


class TokenState(StrEnum):
    """Whether a token opens anything."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; nothing of its secret. `tenants` and `queues` are None where it is for all of them."""

    id: str
    name: str
    role: Role
    scopes: frozenset[TokenScope]
    tenants: frozenset[str] | None
    queues: frozenset[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    state: TokenState


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made: the only time that its `text` is known to anybody."""

    id: str
    name: str
    expires_at: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is looked up; `stale` says that its last use was written down some time ago, or never."""

    token: Token
    digest: bytes = field(repr=False)
    stale: bool


def public_id(text: str) -> str | None:
    """Return the part of a token that may be shown and logged; None if the text is no token at all."""
    found = _FORM.fullmatch(text) if len(text) == _LENGTH else None
    return None if found is None else found[1]


def digest_of(text: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(text.encode()).digest()


async def create(  # noqa: PLR0913 - keywords, each a property of the token or of its entry in the audit log
    link: Link,
    name: str,
    *,
    role: Role,
    actor: str,
    reason: str,
    scopes: Collection[TokenScope] | None = None,
    tenants: Collection[str] | None = None,
    queues: Collection[str] | None = None,
    days: float = DAYS,
    source: str | None = None,
    request_id: str | None = None,
    within: float = USUAL,
) -> NewToken:
    """Make a token; `days` is how long it is valid. Two of one name may be valid at once, so that one replaces another.

    Without `scopes` it allows all that its role does; `tenants` and `queues` confine it to these.

    Raises:
        StatementRefused: a property cannot be, or the name has two valid tokens already; the message says which.
        DatabaseUnavailable: the database cannot be reached.

    """
    public = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    text = f"sup_{public}_{secrets.token_urlsafe(32)}"
    wanted = sorted(SCOPES_OF[role] if scopes is None else scopes)
    expires = await link.fetchval(
        _CREATE,
        public,
        digest_of(text),
        name,
        role.value,
        [scope.value for scope in wanted],
        None if tenants is None else sorted(tenants),
        None if queues is None else sorted(queues),
        days,
        actor,
        reason,
        source,
        request_id,
        within=within,
    )
    return NewToken(public, name, cast("datetime", expires), text)


async def revoke(  # noqa: PLR0913 - keywords of the entry in the audit log
    link: Link,
    token: str,
    *,
    actor: str,
    reason: str,
    source: str | None = None,
    request_id: str | None = None,
    within: float = USUAL,
) -> bool:
    """Revoke the token of this id: it opens nothing from the commit on. False: there is none, or it was revoked."""
    return bool(await link.fetchval(_REVOKE, token, actor, reason, source, request_id, within=within))


async def of(link: Link, token: str, *, within: float = USUAL) -> StoredToken | None:
    """Look up the token of this id, whatever its state."""
    row = await link.fetchrow(_OF, token, within=within)
    return None if row is None else StoredToken(_token(row), row["digest"], row["stale"])


async def touch(link: Link, token: str, *, within: float = USUAL) -> None:
    """Write down that a token was used just now; done at most once a minute for each."""
    await link.execute(_TOUCH, token, within=within)


async def listed(link: Link, *, ended: bool = False, most: int = _MOST, within: float = USUAL) -> list[Token]:
    """List the valid tokens by name, and with `ended` those that are expired or revoked too."""
    return [_token(row) for row in await link.fetch(_ALL, ended, most, within=within)]


async def any_valid(link: Link, *, within: float = USUAL) -> bool:
    """Say whether anybody has a token that opens something."""
    return bool(await link.fetchval(_ANY, within=within))


def _token(row: Record) -> Token:
    return Token(
        row["id"],
        row["name"],
        Role(row["role"]),
        frozenset(map(TokenScope, row["scopes"])),
        _names(row["tenants"]),
        _names(row["queues"]),
        row["created_at"],
        row["created_by"],
        row["expires_at"],
        row["last_used_at"],
        row["revoked_at"],
        TokenState(row["state"]),
    )


def _names(found: list[str] | None) -> frozenset[str] | None:
    return None if found is None else frozenset(found)
