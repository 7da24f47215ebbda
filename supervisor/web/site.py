"""What the handlers of one server share: the way to the database, what the main loop says, and the settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from supervisor.errors import DatabaseUnavailable, SupervisorError
from supervisor.store import control
from supervisor.store.pool import Pool
from supervisor.web.health import read_facts
from supervisor.web.shared_read import SharedRead

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.store.control import Switches
    from supervisor.store.link import Link
    from supervisor.store.pool import Lending
    from supervisor.web.health import Judge
    from supervisor.web.live import LiveBoard

MOST_LINKS: Final = 4
"""Connections to the database that HTTP may use; without requests it has none."""
WITHIN: Final = 2.0
"""Seconds for one statement of a request, and to wait for a connection."""
PROBE: Final = 1.5
"""Seconds in which the database has to answer to count as there."""
PROBE_AGE: Final = 1.0
"""Seconds for which that answer is believed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """How one server is to behave. `rate` is requests a second for each token and address; 0: no limit."""

    host: str
    port: int
    tokens: bool
    hosts: tuple[str, ...]
    rate: float
    max_losses: int
    max_url_length: int
    max_payload: int


class Site:
    """Belongs to the event loop that it is made on. `open_link` connects within so many seconds."""

    def __init__(
        self, settings: WebSettings, board: LiveBoard, open_link: Callable[[float], Awaitable[Link]], judge: Judge
    ) -> None:
        self.judge: Final = judge
        self.settings: Final = settings
        self.board: Final = board
        self.pool: Final = Pool(open_link, MOST_LINKS)
        self.reachable: Final = SharedRead(self._probe)
        """Whether the database answers."""
        self.switches: Final = SharedRead(self._read_switches)
        """What is off."""
        self.facts: Final = SharedRead(partial(read_facts, self))
        """What health depends on."""

    def link(self) -> Lending:
        """Lend a link for the length of a block; raises DatabaseUnavailable if there is none."""
        return self.pool.lend(WITHIN)

    async def close(self) -> None:
        """Close the links."""
        await self.pool.close(0.0)

    async def _read_switches(self) -> Switches:
        async with self.link() as link:
            return await control.read(link, within=WITHIN)

    async def _probe(self) -> bool:
        try:
            with anyio.fail_after(PROBE):
                async with self.pool.lend(PROBE) as link:
                    await link.fetchval("SELECT 1", within=PROBE)
        except TimeoutError:
            return False
        except (DatabaseUnavailable, SupervisorError) as error:
            _log.debug("the database does not answer HTTP's question: %s", error)
            return False
        return True
