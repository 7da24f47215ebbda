"""Ends the terms of this process's singletons in time: before another process may begin one.

A term is as good as the lease of the worker that took it. When the lease can no longer be proved the singleton is
cancelled, and what is left of it just before the lease is over in the database is killed. Timers do that, not a
task: nothing that waits for the database can delay it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from supervisor.jobs.fleet_events import SingletonRevoked, SingletonTaken
from supervisor.jobs.lease import MARGIN, now
from supervisor.tree.clock import NEVER
from supervisor.tree.outcome import Stage
from supervisor.tree.singletons import Term

if TYPE_CHECKING:
    from supervisor.jobs.lease import Lease
    from supervisor.tree.runtime import Runtime
    from supervisor.tree.singletons import Singletons

LOOK: Final = 0.1
"""Seconds between two looks at the lease, while a singleton runs here."""
DRIFT: Final = 0.02
"""The part of a lease by which the clocks of two hosts may differ at its end."""
KILL: Final = 0.3
"""Seconds that a kill may take."""
UNWIND: Final = 0.5
"""Seconds that a cancelled singleton gets to let go of what it has, however late the cancel came."""


class Terms:
    """The terms that singletons of this tree have, each until nothing of it runs any more.

    `lease_length` is in seconds; `path` names the actor that reports. Call `close` at the end.
    """

    def __init__(
        self, singletons: Singletons, lease: Lease, lease_length: float, *, runtime: Runtime, path: str
    ) -> None:
        self._singletons = singletons
        self._lease = lease
        # From the moment when the lease is in doubt to the one when a kill must begin.
        self._patience = lease_length * (MARGIN - DRIFT) - KILL
        self._runtime = runtime
        self._path = path
        self._terms: dict[str, Term] = {}
        self._kill_at: dict[str, float] = {}
        self._trusted_until = -math.inf
        self._timer = NEVER
        self._closed = False

    def __contains__(self, name: str) -> bool:
        return name in self._terms

    def begin(self, name: str, worker: int, fence: int) -> None:
        """Let a singleton run that was taken by this worker; nothing runs under its name."""
        lease = self._lease
        term = Term(name, fence, lambda: lease.worker == worker and lease.is_held)
        self._terms[name] = term
        self._runtime.emit(SingletonTaken(self._path, name, fence))
        self._singletons.grant(term)
        self._look()

    def end(self, name: str, stage: Stage = Stage.DRAINING) -> None:
        """Stop a singleton."""
        term = self._terms.get(name)
        if term is not None and not term.revoked:
            self._singletons.revoke(name, stage)

    def settle(self) -> list[Term]:
        """Forget the terms that are over, and of which nothing runs any more; return them."""
        over = [term for name, term in self._terms.items() if term.revoked and self._singletons.is_quiet(name)]
        for term in over:
            del self._terms[term.name]
            self._kill_at.pop(term.name, None)
        return over

    @property
    def names(self) -> list[str]:
        """Of whom there is a term."""
        return list(self._terms)

    def look(self) -> None:
        """Look at the lease now; to be called when it is known to be lost."""
        if self._terms:
            self._look()

    def close(self) -> None:
        """End the terms that are left, and look no longer than something of them runs."""
        self._closed = True
        for name in self._terms:
            self.end(name)
        self.look()

    def _look(self) -> None:
        self._timer.cancel()
        if self._closed:
            self.settle()
        if self._lease.is_held:
            self._trusted_until = self._lease.trusted_until
        for name, term in self._terms.items():
            if term.is_in_doubt and name not in self._kill_at:
                self._kill_at[name] = max(now() + UNWIND, self._trusted_until + self._patience)
                if not self._singletons.is_quiet(name):
                    self._runtime.emit(SingletonRevoked(self._path, name, term.fence))
                self._singletons.revoke(name, Stage.CANCELLING)
            elif now() >= self._kill_at.get(name, math.inf):
                self._singletons.revoke(name, Stage.KILLING)
        if self._terms:
            self._timer = self._runtime.clock.call_later(LOOK, self._look)
