"""Places in a worker where it can be killed with -9: between two statements, and before and after each commit.

`SOAK_CRASH=place:n` kills the process when it comes to that place for the n-th time, once for each folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from supervisor.store import jobs, steps, workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.soak.ledger import Ledger

    Statement = Callable[..., Awaitable[Any]]

VARIABLE: Final = "SOAK_CRASH"
IN_FLIGHT: Final = 0.0004
"""Seconds for which a statement is under way when the process is killed in the middle of it."""

STATEMENTS: Final = {
    "claim": (jobs, "claim"),
    "claim_suspects": (jobs, "claim_suspects"),
    "complete": (jobs, "complete"),
    "finish": (jobs, "finish"),
    "hand_back": (jobs, "hand_back"),
    "record": (steps, "record"),
    "register": (workers, "register"),
    "release": (workers, "release_lost"),
    "declare_dead": (workers, "declare_dead"),
    "sleep_on": (workers, "sleep_on"),
    "promote": (jobs, "promote"),
}
"""Each can be crashed at `before-`, `during-` and `after-` its name."""


class CrashPoints:
    """The place that was asked for, and how often it has been passed."""

    def __init__(self, ledger: Ledger, wanted: str) -> None:
        self._ledger = ledger
        self._place, _, number = wanted.partition(":")
        self._left = int(number or 1)

    def reach(self, place: str) -> None:
        """Come to a place; this may be the end."""
        if self._is_it(place):
            self._die()

    def install(self) -> None:
        """Put the places around the typed statements."""
        for name, (module, function) in STATEMENTS.items():
            if self._place.endswith(f"-{name}"):
                setattr(module, function, self._around(name, getattr(module, function)))

    def _around(self, name: str, statement: Statement) -> Statement:
        async def dangerous(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            if name in {"claim", "claim_suspects"} and self._place.startswith("after"):
                rows = await statement(*args, **options)
                if rows:
                    self.reach(f"after-{name}")
                return rows
            self.reach(f"before-{name}")
            if self._is_it(f"during-{name}"):
                asyncio.get_running_loop().call_later(IN_FLIGHT, self._die)
            answer = await statement(*args, **options)
            self.reach(f"after-{name}")
            return answer

        return dangerous

    def _is_it(self, place: str) -> bool:
        if place != self._place:
            return False
        self._left -= 1
        return self._left == 0

    def _die(self) -> None:
        try:
            os.close(os.open(self._ledger.folder / f"crashed-{self._place}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return  # it has died of it before
        self._ledger.write("crashed", text=self._place)
        os.kill(os.getpid(), signal.SIGKILL)
