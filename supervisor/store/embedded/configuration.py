"""The server's configuration files: written by us at each start, outside the cluster, and read by the server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError
from supervisor.store.embedded.account import user_name
from supervisor.store.embedded.disk import replace_text
from supervisor.store.embedded.folder import PORT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from supervisor.store.embedded.account import Account
    from supervisor.store.embedded.folder import DataFolder

SUPERUSER: Final = "postgres"
"""The role that initdb makes and that we connect as."""

DEFAULTS: Final[Mapping[str, str]] = {
    "max_connections": "200",
    "wal_level": "replica",
    "jit": "off",  # compiling costs more than any of our short statements
    "max_parallel_workers_per_gather": "0",  # a container's /dev/shm has 64 MB
    "idle_in_transaction_session_timeout": "5min",  # a forgotten transaction stops all clean-up of dead rows
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FIXED: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "log_destination": "stderr",
    "logging_collector": "off",
}
_PLACES: Final = ("unix_socket_directories", "hba_file", "ident_file")
_RESERVED: Final = frozenset({*_FIXED, *_PLACES, "config_file", "data_directory"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
_MAP: Final = "supervisor"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of one start; those that make the server reachable, and only for us, are fixed."""

    settings: Mapping[str, str]

    @property
    def durable(self) -> bool:
        """Whether the data shall survive a power cut."""
        return self.settings.get("fsync", "on").lower() not in {"off", "false", "no", "0"}

    def write(self, folder: DataFolder, account: Account, sockets: Path) -> Path:
        """Write the files for the server's user to read; return the one that names the others."""
        mode = 0o644 if account.switch else 0o600
        main, access, users = (folder.root / name for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"))
        # The kernel tells the server who is on the other side of a socket, so there is no password to keep.
        rules = [f"local {database} all peer map={_MAP}" for database in ("all", "replication")]
        names = dict.fromkeys((account.name, user_name(os.geteuid()), user_name(0)))
        replace_text(access, _lines("who may connect", rules), mode=mode)
        replace_text(
            users,
            _lines("the OS users who may be the superuser", [f'{_MAP} "{name}" {SUPERUSER}' for name in names if name]),
            mode=mode,
        )
        places = dict(zip(_PLACES, map(str, (sockets, access, users)), strict=True))
        settings = {**DEFAULTS, **self.settings, **_FIXED, **places}
        # What initdb found out about this system comes first. ALTER SYSTEM, in the cluster, comes last.
        begin = f"include = {_quoted(str(folder.cluster / 'postgresql.conf'))}"
        lines = [begin, *(f"{name} = {_quoted(value)}" for name, value in settings.items())]
        replace_text(main, _lines("the settings", lines), mode=mode)
        return main


def checked(settings: Mapping[str, str]) -> Configuration:
    """Make a configuration of settings of PostgreSQL, which go before ours. Raises ConfigError."""
    for name, value in settings.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is not the name of a PostgreSQL setting; correct it")
        if name.lower() in _RESERVED:
            raise ConfigError(
                f"the PostgreSQL setting {name} = {value!r} cannot be given to the embedded server: we could not "
                "reach it, or others could; leave it out, or run a server of your own and set DATABASE_URL"
            )
        if not value.isprintable():
            raise ConfigError(f"the PostgreSQL setting {name} = {value!r} is not printable text; correct it")
    return Configuration({name.lower(): value for name, value in settings.items()})


def _lines(title: str, lines: list[str]) -> str:
    return "\n".join([f"# Written at each start: {title}.", *lines, ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
