"""Which names this server answers to, and whether it is bound to the loopback address alone.

A page that somebody visits can let its own name lead to 127.0.0.1 (DNS rebinding), and would then be of the same
origin as we are. It cannot do that with an address, so every address is let in, and of names only those that are known.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?")


class Hosts:
    """The names that a request may be for: loopback, this host's own, and those that the settings add."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._known: Final = {"localhost", socket.gethostname().lower(), *(name.lower() for name in more)}

    def knows(self, host: str | None) -> bool:
        """Say whether a Host header names us."""
        found = _HOST.fullmatch(host or "")
        if found is None:
            return False
        name = found["name"].lower()
        return name.rstrip(".") in self._known or _address(name) is not None


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a server that is bound to this name or address."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def same_origin(origin: str, host: str) -> bool:
    """Say whether an Origin header is the page of this very server."""
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme.lower() in {"http", "https"} and rest.lower() == host.lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
