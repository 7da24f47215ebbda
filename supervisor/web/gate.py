"""Decides who is let in: everything that is not allowed here, in one place, is refused.

The order: the name that was called, the page that asks, how often, who, and what they may do. A caller without a token
learns nothing of what there is behind.
"""

from __future__ import annotations

import hashlib
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from supervisor.web.hosts import Hosts, same_origin
from supervisor.web.identity import LOCAL, bearer_of, identify
from supervisor.web.rates import Rate
from supervisor.web.refusal import Refusal, bad_request, forbidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.web.identity import Identity
    from supervisor.web.route import Access
    from supervisor.web.site import Site

FAILURES: Final = 5
FAILURES_WITHIN: Final = 60.0
"""So many wrong tokens of one address within so many seconds, and no further one is looked at."""
BURST: Final = 2.0
"""Seconds of the usual rate that may come at once."""
_KNOWN: Final = 1000
_SAFE: Final = frozenset({"GET", "HEAD"})
_FROM_US: Final = frozenset({"same-origin", "none"})


class Gate:
    """Belongs to one server."""

    def __init__(self, site: Site) -> None:
        settings, now = site.settings, site.board.now
        burst = math.ceil(settings.rate * BURST)
        self._site: Final = site
        self._hosts: Final = Hosts((settings.host, *settings.hosts))
        self._addresses: Final = Rate(settings.rate, burst, now)
        self._tokens: Final = Rate(settings.rate, burst, now)
        self._failures: Final = Rate(FAILURES / FAILURES_WITHIN, FAILURES, now)
        self._good: Final[dict[bytes, None]] = {}

    def check_caller(self, method: str, headers: Mapping[str, str], source: str) -> None:
        """Check what can be checked of anybody. Raises Refusal."""
        host = headers.get(hdrs.HOST)
        if not self._hosts.knows(host):
            raise Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown_host",
                "this server does not answer to the name in the Host header",
                field="Host",
                remedy="ask by address, or add the name to the setting http_hosts",
            )
        if method not in _SAFE:
            _check_page(headers, host or "")
        self._take(self._addresses, source)

    async def identify(self, headers: Mapping[str, str], source: str) -> Identity:
        """Return who asks. Raises Refusal, DatabaseUnavailable."""
        if not self._site.settings.tokens and hdrs.AUTHORIZATION not in headers:
            return LOCAL
        bearer = bearer_of(headers.get(hdrs.AUTHORIZATION))
        if bearer is None:
            raise _unknown("the request has no token", "send it as: Authorization: Bearer sup_…")
        digest = hashlib.sha256(bearer.encode("utf-8", "surrogateescape")).digest()
        # One that was right a moment ago is looked at even where others of the same address (a proxy's) were wrong.
        if digest not in self._good and (wait := self._failures.wait(source)) > 0:
            raise _too_many("wrong tokens came from this address", wait)
        async with self._site.link() as link:
            found = await identify(link, bearer)
        if found is None:
            self._good.pop(digest, None)
            self._failures.take(source)
            raise _unknown("the token is not valid", "see: python -m supervisor tokens list")
        self._remember(digest)
        self._take(self._tokens, found.token or found.name)
        return found

    def check_access(self, identity: Identity, access: Access) -> None:
        """Check whether somebody may do what a route does. Raises Refusal."""
        if access.role is not None and not identity.is_at_least(access.role):
            raise forbidden("role", f"this needs the role {access.role}, and the token has {identity.role}")
        if access.scope is not None and not identity.may(access.scope):
            raise forbidden("scope", f"this needs the scope {access.scope}, which the token does not have")
        if identity.is_confined and not access.confined:
            raise forbidden(
                "confined", "this concerns all, and the token is for some tenants or queues only", "use another token"
            )

    def _remember(self, digest: bytes) -> None:
        self._good.pop(digest, None)
        self._good[digest] = None
        if len(self._good) > _KNOWN:
            del self._good[next(iter(self._good))]

    @staticmethod
    def _take(rate: Rate, key: str) -> None:
        if (wait := rate.take(key)) > 0:
            raise _too_many("too many requests", wait)


def _check_page(headers: Mapping[str, str], host: str) -> None:
    """Refuse what the page of another server asks a browser to do (Fetch Metadata, or else Origin)."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get(hdrs.ORIGIN)
    allowed = site.lower() in _FROM_US if site is not None else origin is None or same_origin(origin, host)
    if not allowed:
        raise forbidden("cross_site", "another site's page may not change anything here")


def _unknown(message: str, remedy: str) -> Refusal:
    return Refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", message, field="Authorization", remedy=remedy)


def _too_many(message: str, wait: float) -> Refusal:
    seconds = math.ceil(wait)
    return Refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        message,
        remedy=f"wait {seconds} s",
        retry_after=seconds,
    )


def check_body_kind(headers: Mapping[str, str], *, has_body: bool) -> None:
    """Refuse a body that is not JSON, as it is. Raises Refusal."""
    if headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "encoding",
            "the body is compressed",
            field="Content-Encoding",
            remedy="send it as it is",
        )
    if not has_body:
        return
    kind, _, parameters = headers.get(hdrs.CONTENT_TYPE, "").partition(";")
    charset = parameters.strip().lower().replace('"', "").replace(" ", "")
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            "the body must be JSON",
            field="Content-Type",
            remedy="send: Content-Type: application/json",
        )


def epoch_of(if_match: str | None) -> int | None:
    """Read an If-Match header, which has the epoch that the caller has seen. Raises Refusal."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - digits of a bigint
        raise bad_request("if_match", "If-Match is no epoch", field="If-Match", remedy='send it as: If-Match: "7"')
    return int(text)
