"""Decides whether a redirect may be followed, by the rules for the URL that led there."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urljoin

from supervisor.safety.refused import Refused
from supervisor.safety.url import DEADLINE, Resolve, VettedUrl, check_text, check_url
from supervisor.safety.url_policy import UrlPolicy

MOST_HOPS: Final = 10
"""How many redirects are followed in a row."""

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ANY: Final = UrlPolicy()


async def check_redirect(  # noqa: PLR0913 - keywords, each with a default
    current: VettedUrl,
    location: str,
    *,
    hop: int,
    policy: UrlPolicy = _ANY,
    resolve: Resolve | None = None,
    deadline: float = DEADLINE,
) -> VettedUrl:
    """Check where a redirect from `current` leads, and return it; `hop` counts the redirects so far, this one too.

    `location` is the header as it came, absolute or not. Follow redirects by hand and with this: a client that does it
    by itself checks nothing.

    Raises:
        Refused: the policy does not allow it, it leads from https to http, or it is one too many.
        Unresolved: its host cannot be looked up now.

    """
    if hop > MOST_HOPS:
        raise Refused("location", f"it is redirect number {hop} in a row", f"at most {MOST_HOPS} are followed")
    check_text(location, "location")
    found = await check_url(
        _absolute(current, location), policy=policy, resolve=resolve, deadline=deadline, field="location"
    )
    if current.scheme == "https" and found.scheme != "https":
        raise Refused("location", "it leads from https to http", "ask the site to redirect to https")
    return found


def _absolute(current: VettedUrl, location: str) -> str:
    if _ABSOLUTE.match(location):
        return location
    if location.startswith("//"):
        return f"{current.scheme}:{location}"
    if location.startswith("/"):
        scheme, _, rest = current.url.partition("://")
        return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}{location}"
    return urljoin(current.url, location)
