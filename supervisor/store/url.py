"""Reads the URL of a database as far as it must be known before a connection: the hosts, and that it has no mistake.

A mistake in a URL is most often a character of the password that should be written as %XX. Then a part of the password
stands where the host or the port belongs, so nothing of a wrong URL is ever quoted.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

ATTRIBUTES: Final = frozenset({"any", "primary", "standby", "prefer-standby", "read-write", "read-only"})
_HOST: Final = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\]]*)(?::(?P<port>\d*))?")
_LARGEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Host:
    """One of the servers; None is whatever the environment or the default of PostgreSQL says."""

    name: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        if self.name is None:
            return "the default host"
        return self.name if self.port is None or self.name.startswith("/") else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and to what kind of server."""

    hosts: tuple[Host, ...]
    attributes: str
    """`target_session_attrs`; read-write if nobody gives it, as a server that takes no writes is of no use to us."""


def wrong_url(setting: str, problem: str = "cannot be understood") -> ConfigError:
    """Return the error for a URL that cannot be used; it says nothing of the URL itself but its `problem`."""
    return ConfigError(
        f"{setting} = ******: {problem}\n"
        "  allowed: postgresql://user:password@host:port/database, special characters written as %XX\n"
        "  remedy: correct it"
    )


def read_url(url: str, setting: str) -> Target:
    """Return where a URL leads; `setting` is what the user calls it. Raises ConfigError for one that has a mistake."""
    try:
        return _read(urlsplit(url))
    except ValueError:
        raise wrong_url(setting) from None  # its cause may quote the password


def _read(parts: SplitResult) -> Target:
    userinfo, _, servers = parts.netloc.rpartition("@")
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError
    if "@" in parts.path or (parts.netloc and not userinfo and "@" in parts.query):
        raise ValueError  # what stands before it is a part of the password
    # A percent sign that begins no %XX is read as itself by everybody, so it is no mistake here either.
    query = (
        {key: values[-1] for key, values in parse_qs(parts.query, strict_parsing=True).items()} if parts.query else {}
    )
    attributes = query.get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS", "read-write")
    if attributes not in ATTRIBUTES:
        raise ValueError
    if servers:
        hosts = tuple(_host(server) for server in servers.split(","))
    else:
        hosts = _listed(query.get("host", ""), query.get("port", ""))
    return Target(hosts, attributes)


def _host(text: str) -> Host:
    """Read `host:port`; a folder of sockets is a host too, with %2F for each slash."""
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError
    return Host(unquote(found["host"]).strip("[]") or None, _port(found["port"]))


def _listed(hosts: str, ports: str) -> tuple[Host, ...]:
    """Pair the hosts and ports of a query, where one port may stand for all."""
    names, numbers = hosts.split(","), ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise ValueError
    return tuple(_paired(name, number) for name, number in zip(names, numbers, strict=True))


def _paired(name: str, number: str) -> Host:
    if name.startswith("/"):
        return Host(name, _port(number))
    host = _host(name)
    return host if host.port is not None else Host(host.name, _port(number))


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not 0 < int(text) <= _LARGEST_PORT:
        raise ValueError
    return int(text)
