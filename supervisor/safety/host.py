"""Brings the host of a URL into the one form in which it is checked, looked up and sent, or refuses it.

What people and programs take for a host is more than its name: `2130706433`, `0x7f.1` and fullwidth digits are
127.0.0.1 to most resolvers. Here an address has its usual form or none, and a name has only the letters that
the Domain Name System has (IDNA 2008 with the mapping of UTS 46, https://www.unicode.org/reports/tr46/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import idna

from supervisor.safety.refused import Refused

if TYPE_CHECKING:
    from supervisor.safety.address import IPAddress

_LONGEST: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# The ending that WHATWG takes for an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4: Final = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")

# Names that lead to machines nearby, whatever they resolve to: RFC 6761, 6762, 7686, 8375, 9476, what ICANN keeps from
# being delegated, and what clouds give their metadata services.
_LOCAL: Final = frozenset(
    {
        "alt",
        "corp",
        "home",
        "home.arpa",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "mail",
        "onion",
        "private",
        "in-addr.arpa",
        "ip6.arpa",
        "metadata.amazonaws.com",
        "metadata.azure.com",
        "metadata.google.com",
        "metadata.goog",
        "metadata.oraclecloud.com",
        "metadata.tencentyun.com",
        "metadata.platformequinix.com",
        "metadata.packet.net",
        "test",
        "instance-data",
        "instance-data.amazonaws.com",
    }
)


@dataclass(frozen=True, slots=True)
class Host:
    """A host in its one form: `name` in lower case ASCII without a last dot, and `address` if that is what it is."""

    name: str
    address: IPAddress | None = None

    def __str__(self) -> str:
        return f"[{self.name}]" if isinstance(self.address, IPv6Address) else self.name


def check_host(text: str, *, field: str = "url") -> Host:
    """Return a host in its one form; brackets stand around an IPv6 address, as in a URL.

    Raises:
        Refused: it is empty, no host at all, an address in a form other than the usual one, or written so that
            programs could differ about what it is.

    """
    if text.startswith("[") or text.endswith("]"):
        return _ipv6(text, field)
    if not text:
        raise Refused(field, "the host is missing", "write it as in https://example.com/")
    if "%" in text:
        raise Refused(field, "the host has a percent sign", "write its characters as they are")
    if len(text) > _LONGEST + 1:
        raise Refused(field, f"the host has {len(text)} characters", f"a name has at most {_LONGEST}")
    name = _ascii(text, field).removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name, plain=text == name, field=field)
    if len(name) > _LONGEST:
        raise Refused(field, f"the host has {len(name)} characters as ASCII", f"a name has at most {_LONGEST}")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise Refused(field, "the host is no name of the Domain Name System", "use a-z, 0-9, dots and hyphens")
        if label.startswith("xn--"):
            _check_punycode(label, field)
    return Host(name)


def local_name(host: str) -> str | None:
    """Say why a name, in its one form, is one of the local network; None if it may be one of the internet."""
    if "." not in host:
        return f"{host} has no dot, and so is a name of the local network"
    labels = host.split(".")
    ends = {".".join(labels[start:]) for start in range(len(labels))}
    found = sorted(ends & _LOCAL, key=len)
    return f"{host} is kept for local use: {found[-1]}" if found else None


def _ascii(text: str, field: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return idna.encode(text, uts46=True, std3_rules=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise Refused(field, "the host is no internationalised name", "write it as its xn-- form") from None


def _check_punycode(label: str, field: str) -> None:
    try:
        fine = idna.alabel(idna.ulabel(label)).decode("ascii") == label
    except (idna.IDNAError, UnicodeError):
        fine = False
    if not fine:
        raise Refused(field, "the host has an xn-- part that stands for no name", "write the name itself")


def _ipv4(name: str, *, plain: bool, field: str) -> Host:
    try:
        address = IPv4Address(name) if plain and _IPV4.fullmatch(name) else None
    except ValueError:
        address = None
    if address is None:
        raise Refused(field, "the host is an address in an unusual form", "write it as in 203.0.113.7")
    return Host(str(address), address)


def _ipv6(text: str, field: str) -> Host:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else ""
    try:
        address = IPv6Address(inner)
    except ValueError:
        raise Refused(field, "the host is no IPv6 address", "write it as in [2001:db8::1]") from None
    if address.scope_id is not None:
        raise Refused(field, "the host has a zone", "an address of the internet has none")
    return Host(str(address), address)
