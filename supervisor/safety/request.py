"""Checks a whole request that somebody wants made: its URL, method, headers and time limit, and each redirect of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from supervisor.safety.headers import CREDENTIALS, HeaderPolicy, check_headers, check_user_agent
from supervisor.safety.redirect import check_redirect
from supervisor.safety.refused import Refused
from supervisor.safety.url import DEADLINE, Resolve, check_url
from supervisor.safety.url_policy import UrlPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor.safety.url import VettedUrl


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """What requests may be made; `longest` is the longest time limit that one may ask for, in seconds."""

    url: UrlPolicy = field(default_factory=UrlPolicy)
    headers: HeaderPolicy = field(default_factory=HeaderPolicy)
    methods: frozenset[str] = frozenset({"GET", "HEAD"})
    longest: float = 120.0


_USUAL: Final = RequestPolicy()


@dataclass(frozen=True, slots=True)
class VettedRequest:
    """A request that may be made now, as it stands. `timeout` is in seconds, `hops` counts the redirects behind it."""

    method: str
    url: VettedUrl
    headers: tuple[tuple[str, str], ...]
    timeout: float
    policy: RequestPolicy
    hops: int = 0

    async def redirected(
        self, location: str, *, resolve: Resolve | None = None, deadline: float = DEADLINE
    ) -> VettedRequest:
        """Return the request to make where a redirect leads; credentials stay behind if that is another site.

        Raises:
            Refused: the redirect must not be followed.
            Unresolved: its host cannot be looked up now.

        """
        hop = self.hops + 1
        url = await check_redirect(
            self.url, location, hop=hop, policy=self.policy.url, resolve=resolve, deadline=deadline
        )
        headers = self.headers
        if url.origin != self.url.origin:
            headers = tuple((name, value) for name, value in headers if name.lower() not in CREDENTIALS)
        return replace(self, url=url, headers=headers, hops=hop)


async def check_request(  # noqa: PLR0913 - keywords, each a part of a request
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    user_agent: str | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - of the request, which is made later
    policy: RequestPolicy = _USUAL,
    resolve: Resolve | None = None,
    deadline: float = DEADLINE,
) -> VettedRequest:
    """Check every part of a request; `deadline`, in seconds, is for the lookups of the check itself.

    Raises:
        Refused: a part is not allowed; the error says which.
        Unresolved: the host of the URL cannot be looked up now.

    """
    if method not in policy.methods:
        raise Refused("method", f"{method[:20]!r} is not allowed", f"use {' or '.join(sorted(policy.methods))}")
    limit = policy.longest if timeout is None else timeout
    if not (math.isfinite(limit) and 0 < limit <= policy.longest):
        raise Refused("timeout", f"{limit:g} s is no time limit", f"use more than 0 and at most {policy.longest:g} s")
    checked = check_headers(headers, policy.headers)
    if user_agent is not None:
        if any(name.lower() == "user-agent" for name, _ in checked):
            raise Refused("userAgent", "there is a user agent among the headers too", "give one of them")
        checked = (("User-Agent", check_user_agent(user_agent)), *checked)
    vetted = await check_url(url, policy=policy.url, resolve=resolve, deadline=deadline)
    return VettedRequest(method, vetted, checked, limit, policy)
