"""Checks of what comes from outside before anything acts on it: addresses, URLs, headers, whole requests.

These are functions and values without a runtime around them: they need no database and no supervisor.
`supervisor.safety.pinned` is imported by those who make their requests with aiohttp.
"""

from __future__ import annotations

from supervisor.safety.address import own_addresses, refusal
from supervisor.safety.headers import HeaderPolicy, check_headers, check_user_agent
from supervisor.safety.host import check_host
from supervisor.safety.redirect import check_redirect
from supervisor.safety.refused import Refused, Unresolved
from supervisor.safety.request import RequestPolicy, VettedRequest, check_request
from supervisor.safety.url import ParsedUrl, VettedUrl, check_url, parse_url
from supervisor.safety.url_policy import UrlPolicy

__all__ = [
    "HeaderPolicy",
    "ParsedUrl",
    "Refused",
    "RequestPolicy",
    "Unresolved",
    "UrlPolicy",
    "VettedRequest",
    "VettedUrl",
    "check_headers",
    "check_host",
    "check_redirect",
    "check_request",
    "check_url",
    "check_user_agent",
    "own_addresses",
    "parse_url",
    "refusal",
]
