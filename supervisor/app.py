"""A program: the actors it runs. `python -m supervisor --app shop:app` starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.tree.strategy import AutoShutdown, Strategy
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.tree.child import Node


class App:
    """What one process runs: `actors`, in start order, under a root supervisor.

    `strategy`, `max_restarts`, `within` and `auto_shutdown` are the root's; see `Supervisor`. Raises
    ConfigError for a tree that cannot work.
    """

    def __init__(
        self,
        actors: Sequence[Node] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 5,
        within: float = 60.0,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        self.root = Supervisor(
            "root", actors, strategy, max_restarts=max_restarts, within=within, auto_shutdown=auto_shutdown
        )
