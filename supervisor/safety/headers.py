"""Checks the HTTP headers that somebody wants sent with a request: profiles of headers, and a user agent.

What decides where a message ends, whom it is for and how the connection is used is the client's business, and what
proves who somebody is goes only where the policy says so (RFC 9110, 5 and 7; RFC 9112, 11.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError
from supervisor.safety.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_OURS: Final = frozenset(
    {
        "host",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "via",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "http2-settings",
        "alt-used",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "set-cookie",
        "set-cookie2",
    }
)
_OUR_PREFIXES: Final = ("proxy-", "sec-", "x-amz-", "x-aws-", "metadata", "x-google-metadata", "x-ms-")
CREDENTIALS: Final = frozenset({"authorization", "cookie", "cookie2", "x-api-key", "x-auth-token"})
"""Headers that prove who somebody is: allowed only by name, and never sent on to another site by a redirect."""

_USER_AGENT: Final = "user-agent"
_LONGEST_AGENT: Final = 512


@dataclass(frozen=True, slots=True)
class HeaderPolicy:
    """Which headers may be sent along: at most `most`, of `most_bytes` bytes together with their separators.

    `credentials` are those of `CREDENTIALS` that are allowed. With `only`, no other header is. Raises ConfigError for
    one that never can be.
    """

    most: int = 32
    most_bytes: int = 8192
    credentials: frozenset[str] = frozenset()
    only: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in sorted(self.credentials | (self.only or frozenset())):
            if name != name.lower() or not _TOKEN.fullmatch(name) or _is_ours(name):
                raise ConfigError(f"HeaderPolicy(…{name!r}…): is no header that can be allowed; write it in lower case")
        if wrong := sorted(self.credentials - CREDENTIALS):
            raise ConfigError(f"HeaderPolicy(credentials=…{wrong[0]!r}…): needs no permission; leave it out")


_USUAL: Final = HeaderPolicy()


def check_headers(
    given: Mapping[str, str] | Iterable[tuple[str, str]], policy: HeaderPolicy = _USUAL
) -> tuple[tuple[str, str], ...]:
    """Return the headers in their order, as they may be sent.

    Raises:
        Refused: one of them cannot be a header or is not allowed, one comes twice, or they are too many or too long.
            The error names the header and never its value.

    """
    pairs = tuple(given.items() if hasattr(given, "items") else given)
    if len(pairs) > policy.most:
        raise Refused("headers", f"there are {len(pairs)}", f"at most {policy.most} are allowed")
    seen: set[str] = set()
    total = 0
    for name, value in pairs:
        low = _checked_name(name, policy)
        field = f"headers.{name}"
        if low in seen:
            raise Refused(field, "it comes twice", "give each header once")
        seen.add(low)
        total += len(name) + len(value) + 4
        if total > policy.most_bytes:
            raise Refused("headers", f"they have more than {policy.most_bytes} bytes", "shorten them")
        _check_value(field, value)
        if low == _USER_AGENT:
            check_user_agent(value, field=field)
    return pairs


def check_user_agent(value: str, *, field: str = "userAgent") -> str:
    """Return a text that may be sent as the user agent. Raises Refused."""
    if len(value) > _LONGEST_AGENT:
        raise Refused(field, f"it has {len(value)} characters", f"at most {_LONGEST_AGENT} are allowed")
    _check_value(field, value)
    return value


def _checked_name(name: str, policy: HeaderPolicy) -> str:
    low = name.lower()
    if not _TOKEN.fullmatch(name) or len(name) > policy.most_bytes:
        raise Refused("headers", f"{name[:40]!r} is no name of a header", "use letters, digits and hyphens")
    usual = low.replace("_", "-")  # many servers take the one for the other
    if _is_ours(usual):
        raise Refused(f"headers.{name}", "the client sets it itself, or nobody may", "leave it out")
    if usual in CREDENTIALS and low not in policy.credentials:
        raise Refused(f"headers.{name}", "it carries credentials, which are not allowed here", "leave it out")
    if policy.only is not None and low not in policy.only | policy.credentials:
        raise Refused(f"headers.{name}", "it is not among the allowed headers", "leave it out")
    return low


def _check_value(field: str, value: str) -> None:
    if not _VALUE.fullmatch(value):
        raise Refused(
            field,
            "its value is empty, begins or ends with a space, or has a character that no header can have",
            "use printable ASCII, without line breaks",
        )


def _is_ours(low: str) -> bool:
    return low in _OURS or low.startswith(_OUR_PREFIXES)
