"""Checks a URL that somebody gave us to visit: its form, its host, and every address that the host has now.

There is one parser, for the check and for the use: what comes out is a URL written anew, in ASCII, which every other
parser reads as this one did. And a name is looked up once: connect only to the addresses of the answer that was
checked, or a name that changes between two questions leads elsewhere (DNS rebinding). See `PinnedResolver`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

from supervisor.safety.address import own_addresses, refusal
from supervisor.safety.host import Host, check_host, local_name
from supervisor.safety.refused import Refused, Unresolved
from supervisor.safety.url_policy import LONGEST, UrlPolicy

if TYPE_CHECKING:
    from supervisor.safety.address import IPAddress

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Looks up a name and returns its addresses; raises OSError if it cannot."""

DEADLINE: Final = 5.0
"""Seconds for all the lookups of one check, unless it says otherwise."""

MOST_ADDRESSES: Final = 128
"""A name with more is refused: no site needs them, and each is checked."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LARGEST_PORT: Final = 65_535
# RFC 3986, 3: what other parsers read into a text that does not have this form is where they differ.
_FORM: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>[^:]*))?")
# Control characters, white space, what changes the direction of a text or cannot be seen, halves of surrogates.
_UNSEEN: Final = re.compile(
    "[\x00-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff\ufeff\ufff9-\uffff]"
)
# As browsers do: what stands for itself in a path, and `%` too, since what follows it may be encoded already.
_AS_THEY_ARE: Final = "!#$%&'()*+,/:;=?@[]~-._"
_ANY: Final = UrlPolicy()


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """A URL whose form and names are allowed; its host was not looked up. `url` is the one to use."""

    url: str
    scheme: str
    host: Host
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """What decides whether two URLs belong to the same site: scheme, host and port."""
        return self.scheme, self.host.name, self.port


@dataclass(frozen=True, slots=True)
class VettedUrl:
    """A URL that may be visited now, by connecting to one of `addresses` and to no other."""

    url: str
    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]

    @property
    def origin(self) -> tuple[str, str, int]:
        """What decides whether two URLs belong to the same site: scheme, host and port."""
        return self.scheme, self.host, self.port


def parse_url(text: str, policy: UrlPolicy = _ANY, *, field: str = "url") -> ParsedUrl:
    """Check all of a URL that can be checked without a lookup, for instance when a job is enqueued.

    Raises:
        Refused: the URL is not one that the policy allows; `field` is what the error calls it.

    """
    check_text(text, field)
    found = _FORM.fullmatch(text)
    if found is None:
        raise Refused(field, "it is no absolute URL", "write it as in https://example.com/")
    scheme = found["scheme"].lower()
    if scheme not in policy.schemes:
        raise Refused(field, f"the scheme {scheme[:20]} is not allowed", f"use {' or '.join(sorted(policy.schemes))}")
    host, port = _authority(found["authority"], scheme, field)
    if port not in policy.ports:
        allowed = ", ".join(map(str, sorted(policy.ports)))
        raise Refused(field, f"port {port} is not allowed", f"these are: {allowed}")
    _check_names(host, policy, field)
    where = str(host) if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    rest = (found["path"] or "/") + (found["query"] or "") + (found["fragment"] or "")
    url = f"{scheme}://{where}{quote(rest, safe=_AS_THEY_ARE)}"
    if len(url) > LONGEST:
        raise Refused(field, f"the URL has {len(url)} characters once encoded", f"at most {LONGEST} are allowed")
    return ParsedUrl(url, scheme, host, port)


async def check_url(
    text: str,
    *,
    policy: UrlPolicy = _ANY,
    resolve: Resolve | None = None,
    deadline: float = DEADLINE,
    field: str = "url",
) -> VettedUrl:
    """Check a URL and look up its host; every address it has must be one that the policy allows.

    `resolve` looks up names, by default as this host does; `deadline` is in seconds, for all lookups together.

    Raises:
        Refused: the URL, or an address of its host, is not allowed.
        Unresolved: the host, or one that the policy protects, has no address now, or the lookup took too long.

    """
    parsed = parse_url(text, policy, field=field)
    look_up = system_resolve if resolve is None else resolve
    latest = parsed.host.name
    try:
        async with asyncio.timeout(deadline):
            forbidden = {own for own in own_addresses() if not policy.allows_network(own)}
            for latest in policy.protected:
                forbidden |= await _protected(latest, look_up)
            latest = parsed.host.name
            answers = [latest] if parsed.host.address else await look_up(latest)
    except TimeoutError:
        raise Unresolved(latest, f"no answer within {deadline:g} s") from None
    except OSError as error:
        raise Unresolved(latest, error.strerror or type(error).__name__) from None
    return VettedUrl(parsed.url, parsed.scheme, latest, parsed.port, _vetted(latest, answers, forbidden, policy, field))


def check_text(text: str, field: str) -> None:
    """Check the characters of a URL, absolute or not; raises Refused."""
    if len(text) > LONGEST:
        raise Refused(field, f"the URL has {len(text)} characters", f"at most {LONGEST} are allowed")
    if found := _UNSEEN.search(text):
        what = f"U+{ord(found[0]):04X} at position {found.start()}"
        raise Refused(field, f"it has a character that cannot stand in a URL: {what}", "remove it, or write it as %XX")
    if "\\" in text:
        raise Refused(field, "it has a backslash", "write a slash, or %5C")
    if "%00" in text:
        raise Refused(field, "it has an encoded null character", "remove it")


async def system_resolve(name: str) -> list[str]:
    """Look up a name as this host does. The last dot keeps the search list of the host out of it."""
    absolute = f"{name}." if "." in name else name
    answers = await asyncio.get_running_loop().getaddrinfo(absolute, None, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


def _authority(text: str, scheme: str, field: str) -> tuple[Host, int]:
    if "@" in text:
        raise Refused(field, "it has a user name or password", "remove what stands before the @, and the @")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise Refused(field, "the host is no host", "write it as in https://example.com/")
    host = check_host(found["host"], field=field)
    if found["port"] is None:
        return host, _DEFAULT_PORTS[scheme]
    port = found["port"]
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= len(str(_LARGEST_PORT)) else 0
    if not 0 < number <= _LARGEST_PORT:
        raise Refused(field, "the port is no port", f"write a number from 1 to {_LARGEST_PORT}, or none")
    return host, number


def _check_names(host: Host, policy: UrlPolicy, field: str) -> None:
    if policy.is_denied(host.name):
        raise Refused(field, f"{host.name} is not to be visited", "use another site")
    if policy.hosts is not None and not policy.is_listed(host.name):
        raise Refused(field, f"{host.name} is not among the allowed hosts", "use one of these, or extend the list")
    if host.address is not None:
        only_names = f"{host.name} is an address and not a name"
        problem = refusal(host.address, allowed=policy.allowed_networks) if policy.literals else only_names
    else:
        problem = None if policy.names_exactly(host.name) else local_name(host.name)
    if problem is not None:
        raise Refused(field, problem, "use a site of the public internet")


async def _protected(host: str, look_up: Resolve) -> set[IPAddress]:
    found = check_host(host, field="protected")
    return {ip_address(answer) for answer in ([found.name] if found.address else await look_up(found.name))}


def _vetted(
    host: str, answers: Sequence[str], forbidden: set[IPAddress], policy: UrlPolicy, field: str
) -> tuple[str, ...]:
    """Return the addresses in the order they came, each once; one that is refused refuses them all."""
    if not answers:
        raise Unresolved(host, "it has no address")
    distinct = tuple(dict.fromkeys(answers))
    if len(distinct) > MOST_ADDRESSES:
        raise Refused(field, f"{host} has {len(distinct)} addresses", f"at most {MOST_ADDRESSES} are looked at")
    for answer in distinct:
        problem = refusal(answer, allowed=policy.allowed_networks, forbidden=forbidden)
        if problem is not None:
            raise Refused(field, f"{host} leads to where it must not: {problem}", "use a site of the public internet")
    return distinct
