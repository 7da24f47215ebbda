"""Wires the ready-made actors into the tree of a process that runs jobs.

Started first is stopped last, so this tree is also the order of a shutdown: stop claiming, let handlers finish, hand
back, flush what ended, stop the user's actors, the upkeep, the heartbeats, and at last the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import standard_core as core
from actors import standard_work as work
from actors.parent_watch import ParentWatch
from actors.parts import Parts, in_order
from actors.singleton import PROCESS
from supervisor.config import Lane
from supervisor.tree.child import Child
from supervisor.tree.strategy import AutoShutdown, Strategy
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from supervisor.app import App
    from supervisor.config import Config
    from supervisor.tree.child import Node


def standard_tree(app: App, config: Config, *, lane: Lane | None = None) -> Supervisor:
    """Build the tree for an app that has jobs; `lane` says which jobs it runs, by default the one of the settings.

    Raises ConfigError for an app that cannot work.
    """
    parts = Parts(app, config, lane or config.lane)
    return _main_tree(parts) if parts.lane is Lane.MAIN else _quarantine_tree(parts)


def _main_tree(parts: Parts) -> Supervisor:
    # Not for a lane, which is started when jobs wait for it: it needs neither, and they take a while to load.
    from actors import standard_upkeep as upkeep  # noqa: PLC0415
    from actors.standard_web import web  # noqa: PLC0415

    order = [upkeep.reaper(parts), upkeep.promoter(parts), upkeep.parker(parts), upkeep.pruner(parts)]
    order.append(upkeep.limit_upkeep(parts))
    maintenance = Supervisor("maintenance", order)
    watching = [upkeep.meter(parts), upkeep.surveyor(parts), upkeep.slow_watch(parts), upkeep.version_watch(parts)]
    measuring = Supervisor("measuring", watching)
    edge: list[Node] = [measuring, maintenance]
    if parts.config.http:
        edge.append(web(parts))
    if parts.config.quarantine and parts.config.app is not None:  # else another process could not find the app
        edge.append(upkeep.quarantine(parts))
    running: list[Node] = [work.completer(parts), work.executor(parts), work.claimer(parts)]
    if parts.config.until_empty:
        running.append(work.until_empty(parts))
    registered = [core.listener(parts), core.registrar(parts), core.heartbeater(parts), core.switchboard(parts)]
    registered.append(core.singletons(parts))
    return _root(parts, [core.database(parts), in_order("core", registered), Supervisor("edge", edge)], running)


def _quarantine_tree(parts: Parts) -> Supervisor:
    first = [Child("parent_watch", ParentWatch, stop_timeout=0.2, cancel_grace=0.3), core.database(parts)]
    registered = [core.registrar(parts), core.heartbeater(parts), core.switchboard(parts), core.singletons(parts)]
    return _root(
        parts,
        [*first, in_order("core", registered)],
        [work.completer(parts), work.executor(parts), work.suspect_claimer(parts)],
    )


def _root(parts: Parts, first: list[Node], last: list[Node]) -> Supervisor:
    app = parts.app.actors_supervisor()
    if app is not None and parts.identity.singleton is not None:
        app.singleton = PROCESS + parts.identity.singleton
    ends = AutoShutdown.NEVER if app is None or not app.significant else AutoShutdown.ANY
    nodes = [*first, *([app] if app is not None else []), in_order("work", last)]
    return Supervisor("root", nodes, Strategy.REST_FOR_ONE, auto_shutdown=ends)
