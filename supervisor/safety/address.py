"""Says whether an IP address is one of the public internet, or why a request must not go there.

`ipaddress.is_global` is no such filter: it lets through multicast, site-local addresses and every way to write an IPv4
address within an IPv6 one. So this has a table of its own, from the special-purpose registries of IANA
(https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry), looks into addresses that
carry another, and of IPv6 lets through only what IANA gives to the public, 2000::/3. `is_global` is asked all the same.
"""

from __future__ import annotations

import socket
import time
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

_IPV4: Final = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "shared address space of a provider"),
        ("127.0.0.0/8", "this host itself"),
        ("168.63.129.16/32", "a metadata service"),  # Azure's, on a public address
        ("169.254.0.0/16", "link-local, where metadata services are"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "for benchmarks of networks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_IPV6: Final = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "no address at all"),
        ("::1/128", "this host itself"),
        ("100::/64", "a black hole"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved for protocols"),  # Teredo, ORCHID, benchmarks
        ("2001:db8::/32", "for documentation"),
        ("3fff::/20", "for documentation"),
        ("5f00::/16", "for segment routing"),
    )
)

# Where an IPv6 address carries an IPv4 one: the prefix, how far the IPv4 address stands from the right, whether it is
# inverted, and whether the form is in use at all. Packets to the forms that are not end at some tunnel or nowhere.
_LAST: Final = 0
_CARRIERS: Final = tuple(
    (IPv6Network(network), shift, inverted, in_use, what)
    for network, shift, inverted, in_use, what in (
        ("::ffff:0:0/96", _LAST, False, True, "IPv4-mapped"),  # RFC 4291
        ("64:ff9b::/96", _LAST, False, True, "NAT64"),  # RFC 6052
        ("64:ff9b:1::/48", _LAST, False, False, "local NAT64"),  # RFC 8215: where it stands is the network's own choice
        ("::ffff:0:0:0/96", _LAST, False, False, "IPv4-translated"),  # RFC 2765
        ("2002::/16", 80, False, False, "6to4"),  # RFC 3056, given up by RFC 7526
        ("2001::/32", _LAST, True, False, "Teredo"),  # RFC 4380
        ("::/96", _LAST, False, False, "IPv4-compatible"),  # given up by RFC 4291
    )
)
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214: in the middle of any address
_32_BITS: Final = 0xFFFF_FFFF

_FRESH: Final = 10.0  # seconds
_FIB: Final = Path("/proc/net/fib_trie")
_INET6: Final = Path("/proc/net/if_inet6")


def refusal(
    address: str | IPAddress,
    *,
    allowed: Collection[IPNetwork] = (),
    forbidden: Collection[IPAddress] = frozenset(),
) -> str | None:
    """Say why a request must not go to an address, or None if it may.

    `allowed` networks pass although they are not public; `forbidden` addresses never do. Any text may be given: what
    is no plain address, such as `fe80::1%eth0` or `127.1`, is refused as such.
    """
    parsed = _parsed(address)
    if parsed is None:
        return "it is no plain IP address"
    carried = tuple(_carried(parsed))
    if parsed in forbidden or any(inner in forbidden for _, inner, _ in carried):
        return f"{parsed} is an address of this host, or one that is protected"
    if any(parsed in network for network in allowed):
        return None
    for what, inner, in_use in carried:
        if in_use:
            problem = refusal(inner, allowed=allowed, forbidden=forbidden)
            return None if problem is None else f"{parsed} stands for {inner} ({what}): {problem}"
        return f"{parsed} stands for {inner} ({what}), and is nobody's own address"
    return _special(parsed)


def own_addresses() -> frozenset[IPAddress]:
    """Return the addresses of this host, as of the last seconds; one that a router maps to it is not known."""
    return _own(int(time.monotonic() / _FRESH))


@lru_cache(maxsize=1)
def _own(_moment: int) -> frozenset[IPAddress]:
    found: set[IPAddress] = set()
    if _FIB.exists():
        found.update(_local_ipv4(_FIB.read_text(encoding="ascii", errors="replace")))
        if _INET6.exists():
            found.update(_local_ipv6(_INET6.read_text(encoding="ascii", errors="replace")))
        return frozenset(found)
    try:
        answers = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    parsed = (_parsed(str(answer[4][0]).partition("%")[0]) for answer in answers)
    return frozenset(address for address in parsed if address is not None)


def _parsed(address: str | IPAddress) -> IPAddress | None:
    if isinstance(address, str):
        try:
            address = ip_address(address)
        except ValueError:
            return None
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else address


def _carried(address: IPAddress) -> Iterator[tuple[str, IPv4Address, bool]]:
    """List the IPv4 addresses within an IPv6 one: by which form, the address, and whether that form is in use."""
    if isinstance(address, IPv4Address) or int(address) <= 1:  # `::` and `::1` are what they are
        return
    number = int(address)
    for network, shift, inverted, in_use, what in _CARRIERS:
        if address in network:
            inner = (number >> shift) & _32_BITS
            yield what, IPv4Address(inner ^ _32_BITS if inverted else inner), in_use
            return
    if (number >> 32) & _32_BITS in _ISATAP:
        yield "ISATAP", IPv4Address(number & _32_BITS), False


def _special(address: IPAddress) -> str | None:
    if isinstance(address, IPv4Address):
        found = next((what for network, what in _IPV4 if address in network), None)
    else:
        found = next((what for network, what in _IPV6 if address in network), None)
        if found is None and address not in _PUBLIC_IPV6:
            found = "given to nobody"
    if found is None and (not address.is_global or address.is_multicast or address.is_reserved):
        found = "not of the public internet"
    return None if found is None else f"{address} is not public: {found}"


def _local_ipv4(trie: str) -> Iterator[IPv4Address]:
    """Read the table of routes of Linux: a line with an address, then one that says whether it is local."""
    latest = ""
    for line in trie.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in {"|--", "+--"}:  # noqa: PLR2004 - the mark and the address
            latest = words[1].partition("/")[0]
        elif words[:1] == ["/32"] and words[-1] == "LOCAL":
            yield IPv4Address(latest)


def _local_ipv6(table: str) -> Iterator[IPv6Address]:
    """Read the table of IPv6 addresses of Linux: 32 digits, then what is of no interest here."""
    for line in table.splitlines():
        yield IPv6Address(int(line.split()[0], 16))
