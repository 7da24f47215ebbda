"""Wires what makes the process a worker: database, notifications, registration, lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.database import DatabaseActor, OwnServer, SchemaCare
from actors.heartbeat_thread import Rhythm
from actors.heartbeater import Heartbeater
from actors.listener import Listener
from actors.parts import child, offered
from actors.registrar import Registrar
from actors.singleton import SingletonKeeper
from actors.switchboard import Switchboard
from supervisor.config import Lane
from supervisor.process.budget import Budget
from supervisor.process.runtime_dir import default_dir

if TYPE_CHECKING:
    from actors.parts import Parts
    from supervisor.tree.child import Child

DATABASE_START: Final = 90.0
"""Seconds for the start of our own server (60) and the migrations, beside the wait for a database."""


def database(parts: Parts) -> Child[Any]:
    """The connection to the database, or our own server."""
    own = OwnServer(data_dir=parts.config.data_dir, bindir=parts.config.pg_bindir) if parts.url is None else None

    def make() -> DatabaseActor:
        return DatabaseActor(
            parts.database,
            direct_url=parts.direct_url or parts.url,
            own=own,
            care=_care(parts),
            wait=parts.config.database_wait,
        )

    start = DATABASE_START + parts.config.database_wait
    return child("database", make, start=start, stop=0.2, cancel=0.3, teardown=4.0 if own else 1.0)


def _care(parts: Parts) -> SchemaCare:
    if parts.lane is not Lane.MAIN:
        return SchemaCare.TRUST
    return SchemaCare.MIGRATE if parts.config.migrate else SchemaCare.VERIFY


def listener(parts: Parts) -> Child[Any]:
    """Hears notifications."""
    return child(
        "listener",
        lambda: Listener(parts.database, parts.wakes, parts.handlers, parts.switches),
        stop=0.2,
        cancel=0.5,
    )


def registrar(parts: Parts) -> Child[Any]:
    """Makes the process known."""

    def make() -> Registrar:
        return Registrar(
            parts.database,
            parts.lease,
            parts.handlers,
            parts.wakes,
            parts.unregistered,
            parts.suspects,
            identity=parts.identity,
            lifelock=parts.lifelock,
            folder=parts.config.runtime_dir or default_dir(),
            offered=[offered(job) for job in parts.app.catalog],
            lease_length=parts.config.lease,
            max_losses=parts.config.max_losses,
            waits=parts.config.singleton_wait,
            poll=parts.config.poll,
        )

    return child("registrar", make, stop=0.2, cancel=0.3, teardown=3.0)


def heartbeater(parts: Parts) -> Child[Any]:
    """Keeps the lease."""

    def make() -> Heartbeater:
        return Heartbeater(
            parts.database,
            parts.lease,
            parts.handlers,
            parts.wakes,
            parts.unregistered,
            parts.switches,
            rhythm=Rhythm(lease=parts.config.lease, every=parts.config.heartbeat),
            hard_limit=Budget(parts.config.shutdown_timeout).hard,
        )

    return child("heartbeater", make, stop=0.2, cancel=0.3, teardown=1.5)


def switchboard(parts: Parts) -> Child[Any]:
    """Follows the switches."""
    return child(
        "switchboard",
        lambda: Switchboard(parts.database, parts.lease, parts.handlers, parts.switches, poll=parts.config.poll),
        stop=0.1,
        cancel=0.2,
        teardown=0.1,
    )


def singletons(parts: Parts) -> Child[Any]:
    """Lets singletons run here while they run nowhere else."""

    def make() -> SingletonKeeper:
        config = parts.config
        takes = parts.lane is Lane.MAIN
        return SingletonKeeper(parts.database, parts.lease, lease_length=config.lease, poll=config.poll, takes=takes)

    return child("singletons", make, stop=0.1, cancel=0.2, teardown=0.6)
