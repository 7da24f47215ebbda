"""Owns the way to the database: starts a server where none is named, waits for it, brings the schema up to date."""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Never, assert_never

from supervisor.errors import DatabaseStartFailed, DatabaseUnavailable, MigrationError
from supervisor.jobs.events import DatabaseBack, DatabaseLost
from supervisor.store import migrate
from supervisor.store.embedded import EmbeddedPostgres
from supervisor.tree.actor import Actor
from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.store.database import Database

EMBEDDED_START: Final = 60.0
EMBEDDED_STOP: Final = 3.0
"""Seconds for a clean stop of our own server; after that it is stopped at once, and recovers at its next start."""
CLOSE: Final = 0.5
"""Seconds that connections have which are still lent when everybody has stopped."""
SAY_AGAIN: Final = 10.0
"""Seconds between two lines of the log about a database that is waited for."""

_log = logging.getLogger(__name__)


class SchemaCare(enum.Enum):
    """What is done about the schema at the start."""

    MIGRATE = "migrate"
    """It is brought up to date."""
    VERIFY = "verify"
    """It must be up to date."""
    TRUST = "trust"
    """Whoever started this process has just seen to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """Where the files of our own PostgreSQL are, and its programs; None: the usual places."""

    data_dir: Path | None
    bindir: Path | None


class DatabaseActor(Actor[Never]):
    """Opens the database before anything else starts, and closes it when everything else has stopped.

    `direct_url` is for the migrations, None where a server of our own is to be started (`own`). At the start, a
    database that is not there yet is waited for during `wait` seconds; one that refuses us is not. Later, an outage is
    a state that every user of the database waits out by itself, and this actor only tells of it.
    """

    def __init__(
        self, database: Database, *, direct_url: str | None, own: OwnServer | None, care: SchemaCare, wait: float
    ) -> None:
        self._database = database
        self._direct_url = direct_url
        self._own = own
        self._care = care
        self._wait = wait
        self._server: EmbeddedPostgres | None = None
        self._changed = Signal()

    async def setup(self) -> None:
        """Return when the database can be used.

        Raises DatabaseStartFailed, DatabaseUnavailable, StatementRefused, MigrationError, ConfigError.
        """
        self._database.outage.on_change = self._tell
        if self._own is not None:
            self._server = EmbeddedPostgres(
                self._own.data_dir,
                bindir=self._own.bindir,
                start_timeout=EMBEDDED_START,
                stop_timeout=EMBEDDED_STOP,
                progress=lambda text: _log.info("the database: %s", text),
            )
            await self.enter(self._server)
            self._move_to(self._server.dsn)
        await self._reach()

    async def run(self) -> None:
        """Bring our own server back if it has died."""
        while not self.stopping:
            pause = math.inf
            if self._server is not None and self._database.outage.is_on:
                pause = 1.0
                try:
                    await self._server.start()
                    self._move_to(self._server.dsn)
                except DatabaseStartFailed as error:
                    _log.warning("the database has died and cannot be started again: %s", error)
            await self.sleep(pause, self._changed)

    async def teardown(self) -> None:
        """Close what is open; our own server is stopped after that."""
        await self._database.close(CLOSE)

    def _move_to(self, url: str) -> None:
        self._direct_url = url
        self._database.move_to(url)

    async def _reach(self) -> None:
        """Get the database ready, as soon as it is there."""
        now = asyncio.get_running_loop().time
        give_up, say_at = now() + self._wait, 0.0
        while True:
            try:
                await self._prepare()
            except (DatabaseUnavailable, MigrationError) as error:
                if isinstance(error, MigrationError) and not error.transient:
                    raise
                pause = self._database.outage.failed(error)
                if now() + pause > give_up:
                    raise
                if now() >= say_at:
                    say_at = now() + SAY_AGAIN
                    _log.warning("waiting for the database, up to %.0f s more: %s", give_up - now(), error)
                await asyncio.sleep(pause)
            else:
                self._database.outage.recovered()
                return

    async def _prepare(self) -> None:
        if self._direct_url is None:
            raise RuntimeError("there is neither a URL nor a server of our own")
        # A database that refuses us says so here, before it can be taken for one that is not there yet.
        await (await self._database.dedicated("start", direct=True)).close()
        match self._care:
            case SchemaCare.MIGRATE:
                await migrate.up(self._direct_url, schema=self._database.schema)
            case SchemaCare.VERIFY:
                await migrate.verify(self._direct_url, schema=self._database.schema)
            case SchemaCare.TRUST:
                pass
            case _:
                assert_never(self._care)
        await self._database.open()

    def _tell(self, lost: bool, seconds: float, reason: str) -> None:  # noqa: FBT001 - the outage's callback
        self._life.runtime.emit(DatabaseLost(self.path, reason) if lost else DatabaseBack(self.path, seconds))
        self._changed.set()
