"""Wires what answers HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from actors.parts import child
from actors.web import WebActor
from supervisor.jobs import lease
from supervisor.jobs.payload import MAX_BYTES
from supervisor.safety.url_policy import LONGEST
from supervisor.web.hosts import is_loopback
from supervisor.web.live import LiveBoard
from supervisor.web.site import WebSettings

if TYPE_CHECKING:
    from actors.parts import Parts
    from supervisor.config import Config
    from supervisor.tree.child import Child


def web(parts: Parts) -> Child[Any]:
    """Answers HTTP; a server that others than this machine can reach asks for tokens."""
    board = LiveBoard(lease.now, name=parts.identity.name, version=parts.identity.version, started_at=time.time())
    settings = web_settings(parts.config)

    def make() -> WebActor:
        return WebActor(
            parts.database, board, parts.lease, parts.slots, parts.outbox, parts.switches, settings=settings
        )

    return child("web", make, stop=0.1, cancel=0.1, teardown=0.5)


def web_settings(config: Config) -> WebSettings:
    """Return how the server is to behave."""
    return WebSettings(
        host=config.http_host,
        port=config.http_port,
        tokens=config.http_tokens or not is_loopback(config.http_host),
        hosts=config.http_hosts,
        rate=config.http_rate,
        max_losses=config.max_losses,
        max_url_length=LONGEST,
        max_payload=MAX_BYTES,
    )
