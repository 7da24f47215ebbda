"""Tells an actor that the whole tree begins to stop, long before its own turn to stop has come."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from supervisor.tree.events import AutoShutdownBegan, StopStage, SupervisorGaveUp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from supervisor.tree.events import Event
    from supervisor.tree.runtime import Runtime


@asynccontextmanager
async def going_down(runtime: Runtime, path: str, tell: Callable[[], object]) -> AsyncIterator[None]:
    """Call `tell` when the root above `path` begins to stop, whoever or whatever asked for it."""
    root = path.partition("/")[0]

    def hear(event: Event) -> None:
        if event.path == root and isinstance(event, StopStage | SupervisorGaveUp | AutoShutdownBegan):
            tell()

    runtime.subscribe(hear)
    try:
        yield
    finally:
        runtime.unsubscribe(hear)
