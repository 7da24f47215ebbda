"""Says who gives a command, for the audit log: the operating system's user, the host, and where they came from."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def actor(environ: Mapping[str, str] | None = None) -> str:
    """Name the user and the host: `ana@ops-1`, and under sudo `root@ops-1 (sudo: ana)`.

    The user is the one whom the kernel knows, not what the environment says. Only root can have come by sudo, and
    root could write anything anyway.
    """
    environ = os.environ if environ is None else environ
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container, where nobody has given it a name
        user = f"uid-{uid}"
    name = f"{user}@{socket.gethostname() or 'host'}"
    before = environ.get("SUDO_USER", "") if uid == 0 else ""
    return f"{name} (sudo: {before})" if before not in {"", user} and before.isprintable() else name


def source(environ: Mapping[str, str] | None = None) -> str:
    """Say how the command came: `command line`, and over ssh from which address."""
    environ = os.environ if environ is None else environ
    address = environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"command line, ssh from {address}" if address and address.isprintable() else "command line"
