"""Lets an HTTP client connect only where the check of a URL has led.

async with ClientSession(connector=TCPConnector(resolver=PinnedResolver(vetted), use_dns_cache=False)) as session:
    async with session.get(vetted.url, allow_redirects=False) as response: ...
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from supervisor.safety.url import VettedUrl


class PinnedResolver(AbstractResolver):
    """A resolver for aiohttp that knows one host, and its addresses as they were checked.

    The URL keeps the name, so the Host header and the server name of TLS are right. aiohttp asks no resolver about a
    host that is an address: with `allow_redirects=False` that can only be the one that was checked.
    """

    def __init__(self, vetted: VettedUrl) -> None:
        self._vetted = vetted

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the checked addresses of the host that was checked; raises OSError for any other."""
        if host.removesuffix(".").lower() != self._vetted.host:
            raise OSError(None, f"{host} was not checked, only {self._vetted.host}")
        found = [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for address in self._vetted.addresses
            if (kind := _family(address)) == family or family == socket.AF_UNSPEC
        ]
        if not found:
            raise OSError(None, f"{host} has no address of the wanted family")
        return found

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6  # noqa: PLR2004 - of the protocol
