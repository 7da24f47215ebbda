"""Writes attempts that were refused into the audit log, but no more of them than somebody can read.

They are written beside the requests, so that a flood of them costs the caller nothing and the database little; what is
left out is counted, and the next entry says how many.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.errors import SupervisorError
from supervisor.store import audit
from supervisor.web.rates import Rate

if TYPE_CHECKING:
    from supervisor.web.site import Site

PER_SECOND: Final = 0.5
BURST: Final = 20
_ROOM: Final = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """One attempt: what was asked for, by whom, and why it was refused."""

    what: str
    code: str
    actor: str
    source: str
    request_id: str


class RefusedLog:
    """`note` may be called at any time; `write` runs beside."""

    def __init__(self, site: Site) -> None:
        self._site: Final = site
        self._rate: Final = Rate(PER_SECOND, BURST, site.board.now)
        self._noted: Final[asyncio.Queue[Refused]] = asyncio.Queue(_ROOM)
        self._left_out = 0

    def note(self, refused: Refused) -> None:
        """Have an attempt written down, if there is room."""
        if self._rate.take("") > 0:
            self._left_out += 1
            return
        try:
            self._noted.put_nowait(refused)
        except asyncio.QueueFull:
            self._left_out += 1

    async def write(self) -> None:
        """Write what is noted, until cancelled."""
        while True:
            refused = await self._noted.get()
            left_out, self._left_out = self._left_out, 0
            try:
                await self._write(refused, left_out)
            except SupervisorError as error:
                self._left_out += left_out + 1
                _log.warning("a refused request is not in the audit log: %s: %s", refused, error)

    async def _write(self, refused: Refused, left_out: int) -> None:
        reason = refused.code if not left_out else f"{refused.code}; {left_out} more were refused before and left out"
        async with self._site.link() as link:
            await audit.write(
                link,
                "refused_request",
                actor=refused.actor,
                reason=reason,
                scope="http",
                name=refused.what,
                accepted=False,
                source=refused.source,
                request_id=refused.request_id,
            )
