"""Opens connections: bounded whatever the other side does, to the first of several hosts that can take writes."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from supervisor.errors import DatabaseUnavailable
from supervisor.store.failures import not_connected, said
from supervisor.store.session import Session
from supervisor.store.url import read_url, wrong_url

if TYPE_CHECKING:
    from supervisor.store.url import Host

_LONGEST: Final = 3600.0  # asyncpg's own limit, which is not needed inside of ours

LONGEST_NAME: Final = 63
"""Bytes of an application_name that PostgreSQL keeps."""

_SETTINGS: Final = {
    # A claim needs to see what others commit while it waits for a lock; roles and databases may say otherwise.
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}
# When we drop a connection, this is how soon the server stops the statement on it. A statement_timeout could do no
# better, and would also hit the long statements of users. Not every server can do it, or knows it.
_IF_POSSIBLE: Final = {"client_connection_check_interval": "1s"}
_IMPOSSIBLE: Final = frozenset({"22023", "42704"})
# The same for our own end. TCP_USER_TIMEOUT (RFC 5482) also covers what was sent and never acknowledged, for which no
# keepalive is sent. Not every system has all of them.
_SOCKET_OPTIONS: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Whom to call, and as whom."""

    url: str = field(repr=False)
    name: str
    """What PostgreSQL shows as application_name."""
    pooler: bool
    """It goes through one that gives each transaction another connection, so nothing can be kept in the session."""
    setting: str
    """What the user calls the URL."""


async def dial(call: Call, within: float) -> Session:
    """Connect within that many seconds; each host gets its share of them, so that a silent one leaves time for others.

    Raises:
        ConfigError: the URL cannot be understood.
        DatabaseUnavailable: no host answers, or none takes writes now.
        StatementRefused: a server does not want us.

    """
    target = read_url(call.url, call.setting)
    now = asyncio.get_running_loop().time
    deadline = now() + within
    failed: list[DatabaseUnavailable] = []
    for tried, host in enumerate(target.hosts):
        share = (deadline - now()) / (len(target.hosts) - tried)
        try:
            return _keep_alive(await _reach(call, host, SessionAttribute(target.attributes), share))
        except DatabaseUnavailable as error:
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    raise DatabaseUnavailable("; ".join(map(str, failed)))


async def _reach(call: Call, host: Host, attributes: SessionAttribute, within: float) -> Session:
    certain = {} if call.pooler else {"application_name": _shortened(call.name), **_SETTINGS}
    wanted = {} if call.pooler else {**certain, **_IF_POSSIBLE}
    try:
        async with asyncio.timeout(within):
            try:
                return await _connect(call, host, attributes, wanted)
            except asyncpg.PostgresError as error:
                if error.sqlstate not in _IMPOSSIBLE or wanted == certain:
                    raise
            return await _connect(call, host, attributes, certain)
    except TimeoutError:
        raise DatabaseUnavailable(
            f"cannot connect to the database at {host}: no answer within {within:.3g} s"
        ) from None
    except asyncpg.TargetServerAttributeNotMatched:
        raise DatabaseUnavailable(
            f"the database at {host} is not {attributes.value} now; perhaps it is a standby"
        ) from None
    except (OSError, asyncpg.PostgresError) as error:
        raise not_connected(str(host), error) from None
    except asyncpg.ClientConfigurationError as error:
        raise wrong_url(call.setting, said(error)) from None
    except ValueError:
        raise wrong_url(call.setting) from None  # its cause may quote the password
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise not_connected(str(host), error) from None


async def _connect(call: Call, host: Host, attributes: SessionAttribute, settings: dict[str, str]) -> Session:
    return await asyncpg.connect(
        call.url,
        host=host.name,
        port=host.port,
        timeout=_LONGEST,
        statement_cache_size=0 if call.pooler else 100,
        max_cached_statement_lifetime=0,  # a timer for each statement, for nothing
        server_settings=settings,
        target_session_attrs=attributes,
        connection_class=Session,
    )


def _keep_alive(session: Session) -> Session:
    """Have the operating system notice a peer that is gone, on a connection that goes over a network."""
    if session.socket.family in {socket.AF_INET, socket.AF_INET6}:
        session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _SOCKET_OPTIONS.items():
            if hasattr(socket, option):
                session.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return session


def _shortened(name: str) -> str:
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")
