"""What URLs are allowed: schemes, ports, and hosts by name and by address."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError
from supervisor.safety.host import check_host
from supervisor.safety.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.safety.address import IPAddress, IPNetwork

LONGEST: Final = 2048
"""The most characters of a URL."""

_SCHEMES: Final = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which URLs may be visited; without arguments, those of the public web.

    `hosts` is an allow-list, `denied` the opposite: names as in `example.com`, or `*.example.com` for all below it. A
    name that stands itself in `hosts` may also be one of the local network. `networks`, as in `10.2.0.0/16`, may be
    visited although they are not public. `protected` hosts never are, by whatever name: their addresses are looked up
    for each check; give the host of your database here. Without `literals` the host must be a name.

    Raises:
        ConfigError: a scheme, port, host or network that cannot be.

    """

    schemes: frozenset[str] = _SCHEMES
    ports: frozenset[int] = frozenset({80, 443})
    hosts: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    literals: bool = True
    allowed_networks: tuple[IPNetwork, ...] = field(init=False, repr=False, compare=False)
    _listed: frozenset[str] = field(init=False, repr=False, compare=False)
    _denied: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if wrong := sorted(self.schemes - _SCHEMES):
            raise _wrong("schemes", wrong[0], "http and https are all there are")
        if wrong_ports := sorted(port for port in self.ports if not 0 < port < 2**16):
            raise _wrong("ports", wrong_ports[0], "a port is 1 to 65535")
        object.__setattr__(self, "allowed_networks", tuple(_network(text) for text in self.networks))
        object.__setattr__(self, "_listed", _patterns("hosts", self.hosts or ()))
        object.__setattr__(self, "_denied", _patterns("denied", self.denied) | _patterns("protected", self.protected))

    def is_listed(self, host: str) -> bool:
        """Say whether the allow-list has a host."""
        return _matches(host, self._listed)

    def names_exactly(self, host: str) -> bool:
        """Say whether the allow-list has a host itself, and not only all below some name."""
        return host in self._listed

    def is_denied(self, host: str) -> bool:
        """Say whether a host must not be visited by this name."""
        return _matches(host, self._denied)

    def allows_network(self, address: IPAddress) -> bool:
        """Say whether an address may be visited whatever it is."""
        return any(address in network for network in self.allowed_networks)


def _matches(host: str, patterns: frozenset[str]) -> bool:
    if not patterns:
        return False
    labels = host.split(".")
    return host in patterns or any(f"*.{'.'.join(labels[start:])}" in patterns for start in range(1, len(labels)))


def _patterns(name: str, given: Iterable[str]) -> frozenset[str]:
    return frozenset(_pattern(name, text) for text in given)


def _pattern(name: str, text: str) -> str:
    star = "*." if text.startswith("*.") and name != "protected" else ""
    try:
        host = check_host(text.removeprefix(star))
    except Refused as error:
        raise _wrong(name, text, f"{error.reason}; {error.remedy}") from None
    if star and host.address is not None:
        raise _wrong(name, text, "nothing is below an address")
    return star + host.name


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise _wrong("networks", text, str(error)) from None


def _wrong(name: str, value: object, reason: str) -> ConfigError:
    return ConfigError(f"UrlPolicy({name}=…{value!r}…): {reason}")
