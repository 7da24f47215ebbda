"""One data folder as one user of its server sees it: join the server, leave it, and the last who leaves ends it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import DatabaseStartTimeout
from supervisor.store.embedded import postmaster
from supervisor.store.embedded.account import server_account
from supervisor.store.embedded.folder import DataFolder, prepare
from supervisor.store.embedded.limit import Cancelled, Limit
from supervisor.store.embedded.locks import FileLock, exclusive
from supervisor.store.embedded.start import Joined, Start

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from supervisor.store.embedded.configuration import Configuration


class Cluster:
    """Counts as one user of the server between `join` and `leave`, which block and may be called from any thread."""

    def __init__(
        self, data_dir: Path, bindir: Path | None, configuration: Configuration, report: Callable[[str], None]
    ) -> None:
        self._data_dir = data_dir
        self._bindir = bindir
        self._configuration = configuration
        self._report = report
        self._serial = threading.Lock()
        self._use: FileLock | None = None

    def join(self, limit: Limit) -> Joined:
        """Start the server, or go on with the running one; called again, revive it if it has died.

        Raises ConfigError, DatabaseStartFailed, DatabaseStartTimeout and `Cancelled`.
        """
        with self._serial:
            limit.check()
            folder = prepare(self._data_dir)
            with self._alone(folder, limit), ExitStack() as undo:
                use = self._use
                if use is None:
                    use = undo.enter_context(closing(FileLock(folder.use_lock)))
                    use.share()  # free: to hold it alone takes the lock of the start as well
                account = server_account(folder.owner())
                joined = Start(folder, account, self._bindir, self._configuration, self._report).run(limit)
                undo.pop_all()
                self._use = use
                return joined

    def leave(self, fast: Limit) -> bool:
        """Stop using the server, and end it if nobody else uses it; return whether it has ended.

        It ends cleanly within `fast`, else at once. It is left alone where another process starts it and takes longer.
        Raises DatabaseStartFailed if the server survives.
        """
        with self._serial:
            if self._use is None:
                return False
            use, self._use = self._use, None
            folder = DataFolder.within(self._data_dir)
            # Without its folder, a server ends by itself within a minute.
            with closing(use), suppress(DatabaseStartTimeout, Cancelled, FileNotFoundError), self._alone(folder, fast):
                if use.take():
                    self._end(folder, fast)
                    return True
            return False

    def _alone(self, folder: DataFolder, limit: Limit) -> AbstractContextManager[None]:
        waiting = partial(self._report, "waiting for another process that starts or stops PostgreSQL")
        return exclusive(folder.start_lock, limit, waiting)

    def _end(self, folder: DataFolder, fast: Limit) -> None:
        server = postmaster.running(folder.cluster)
        if server is None:
            return
        postmaster.stop(server.pid, fast, self._report)
        sockets = Path(server.socket_dir)
        if sockets.parent != folder.root:
            with suppress(OSError):
                sockets.rmdir()
