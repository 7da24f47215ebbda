"""Who this process is among the workers: a name that no other ever has, and what it runs."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from supervisor.config import Lane
from supervisor.process.version import metadata, version_of
from supervisor.store.workers import Identity

if TYPE_CHECKING:
    from supervisor.config import Config


def identity(config: Config, lane: Lane) -> Identity:
    """Make the identity of this process; each call gives another name, `host-pid-time-random`."""
    host, pid = socket.gethostname().replace("/", "_") or "host", os.getpid()
    version = version_of(config.app.partition(":")[0] if config.app else None, os.environ)
    return Identity(
        name=f"{host}-{pid}-{int(time.time())}-{secrets.token_hex(4)}",
        host=host,
        pid=pid,
        worker_type="worker" if lane is Lane.MAIN else lane.value,
        version=version,
        metadata=metadata(version),
    )
