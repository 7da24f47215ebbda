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
    from collections.abc import Sequence

    from supervisor.config import Config


def identity(config: Config, lane: Lane, queues: Sequence[str] = ()) -> Identity:
    """Make the identity of this process, which serves these queues; each call gives another name.

    Names are `host-pid-time-random`. A process for suspects helps the one that started it, and is no singleton itself.
    """
    host, pid = socket.gethostname().replace("/", "_") or "host", os.getpid()
    version = version_of(config.app.partition(":")[0] if config.app else None, os.environ)
    return Identity(
        name=f"{host}-{pid}-{int(time.time())}-{secrets.token_hex(4)}",
        host=host,
        pid=pid,
        worker_type="worker" if lane is Lane.MAIN else lane.value,
        version=version,
        metadata={**metadata(version), "queues": list(queues)},
        singleton=config.singleton if lane is Lane.MAIN else None,
    )
