"""Who wants to hear of every single job: `App(on_job=…)`, metrics, tests. By default nobody, which costs nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor.jobs.events import JobEvent


class JobHooks(list["Callable[[JobEvent], object]"]):
    """A list of functions; an empty one is false, so that the hot path tests it and makes no event.

    Each is called on the event loop, and must be quick. One that raises is logged and harms nobody.
    """

    __slots__ = ()

    def __init__(self, hooks: Iterable[Callable[[JobEvent], object]] = ()) -> None:
        super().__init__(hooks)

    def tell(self, event: JobEvent) -> None:
        """Call every hook."""
        for hook in tuple(self):
            try:
                hook(event)
            except Exception:  # a job must not depend on who watches it
                logging.getLogger(__name__).exception("a hook failed on %s", type(event).__name__)
