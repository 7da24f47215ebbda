"""What machines ask: does the process live, can it take jobs, its metrics, and the description of all this."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from supervisor.telemetry import metrics
from supervisor.web.openapi import document
from supervisor.web.route import ANYBODY, JSON, LOOK, Reply, get
from supervisor.web.structs import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from supervisor.web.call import Call
    from supervisor.web.live import LiveBoard
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams


class Alive(Answer, frozen=True, kw_only=True):
    """Whether the main loop of the process turns."""

    alive: bool


class Ready(Answer, frozen=True, kw_only=True):
    """Whether the process can start jobs."""

    ready: bool
    because: Annotated[
        list[str],
        msgspec.Meta(description="Why not, of: blocked, draining, unregistered, lease_in_doubt, database_unavailable."),
    ]


async def livez(call: Call[NoParams, NoBody]) -> Reply:
    """Answer without any I/O; a blocked main loop is the one thing that a restart would help."""
    alive = not call.site.board.is_blocked
    return Reply(Alive(alive=alive), HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE)


async def readyz(call: Call[NoParams, NoBody]) -> Reply:
    """Answer from what the main loop said last, and from the last answer of the database."""
    because = list(_obstacles(call.site.board))
    if not because and not await call.site.reachable.get(PROBE_AGE):
        because = ["database_unavailable"]
    status = HTTPStatus.SERVICE_UNAVAILABLE if because else HTTPStatus.OK
    return Reply(Ready(ready=not because, because=because), status)


def _obstacles(board: LiveBoard) -> Iterator[str]:
    shown = board.shown
    if board.is_blocked:
        yield "blocked"
    if shown.draining:
        yield "draining"
    if not shown.worker:
        yield "unregistered"
    elif not board.holds_lease:
        yield "lease_in_doubt"
    if shown.outage:
        yield "database_unavailable"


async def show_metrics(call: Call[NoParams, NoBody]) -> Reply:  # noqa: ARG001 - every handler gets its call
    """Show the metrics of this process."""
    return Reply(metrics.render(), content_type=metrics.CONTENT_TYPE)


async def show_openapi(call: Call[NoParams, NoBody]) -> Reply:
    """Describe the route table."""
    return Reply(_described(tokens=call.site.settings.tokens, version=call.site.board.version))


@lru_cache(maxsize=4)
def _described(*, tokens: bool, version: str) -> bytes:
    from supervisor.web.routes import ROUTES  # noqa: PLC0415 - the table has this module in it

    return document(ROUTES, version=version, tokens=tokens)


PROBE_AGE: Final = 1.0
"""Seconds for which an answer of the database is believed."""

ROUTES: Final[Sequence[AnyRoute]] = (
    get(
        "/livez",
        livez,
        Alive,
        "Does this process live?",
        access=ANYBODY,
        others={HTTPStatus.SERVICE_UNAVAILABLE: Alive},
    ),
    get(
        "/readyz",
        readyz,
        Ready,
        "Can this process start jobs?",
        access=ANYBODY,
        others={HTTPStatus.SERVICE_UNAVAILABLE: Ready},
    ),
    get("/metrics", show_metrics, "text/plain", "The metrics of this process, for Prometheus", access=LOOK),
    get("/openapi.json", show_openapi, JSON, "This description", access=LOOK),
)
