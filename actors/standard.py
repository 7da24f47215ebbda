"""Wires the ready-made actors into the tree of a process that runs jobs.

Started first is stopped last, so this tree is also the order of a shutdown: stop claiming, let handlers finish, hand
back, flush what ended, stop the user's actors, the upkeep, the heartbeats, and at last the database.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from actors.claimer import Claimer
from actors.completer import Completer
from actors.database import DatabaseActor, OwnServer, SchemaCare
from actors.executor import Executor
from actors.heartbeat_thread import Rhythm
from actors.heartbeater import Heartbeater
from actors.listener import Listener
from actors.parent_watch import ParentWatch
from actors.promoter import Promoter
from actors.pruner import Pruner
from actors.quarantine import Quarantine
from actors.reaper import Reaper
from actors.registrar import Registrar
from actors.suspect_claimer import SuspectClaimer
from actors.until_empty import UntilEmpty
from supervisor.config import Lane
from supervisor.jobs.handler_tasks import HandlerTasks
from supervisor.jobs.hooks import JobHooks
from supervisor.jobs.lease import Lease
from supervisor.jobs.outbox import Outbox
from supervisor.jobs.slots import Slots
from supervisor.jobs.step_log import StepLog
from supervisor.jobs.wakes import Wakes
from supervisor.process.budget import Budget
from supervisor.process.identity import identity
from supervisor.process.lane import environ_for
from supervisor.process.lifelock import LifeLock
from supervisor.process.runtime_dir import default_dir
from supervisor.store.database import Database
from supervisor.store.kinds import Kind
from supervisor.tree.child import Child
from supervisor.tree.signal import Signal
from supervisor.tree.strategy import AutoShutdown, Strategy
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.app import App
    from supervisor.config import Config, Secret
    from supervisor.jobs.job import Job
    from supervisor.tree.actor import Actor
    from supervisor.tree.child import Node

DATABASE_START: Final = 90.0
"""Seconds for the start of our own server (60) and the migrations, beside the wait for a database."""

HANDLER_GRACE: Final = 1.5
"""Seconds between the cancel of the last handlers and giving them up, when the process stops."""


def standard_tree(app: App, config: Config, *, lane: Lane | None = None) -> Supervisor:
    """Build the tree for an app that has jobs; `lane` says which jobs it runs, by default the one of the settings.

    Raises ConfigError for an app that cannot work.
    """
    parts = _Parts(app, config, lane or config.lane)
    return parts.main_tree() if parts.lane is Lane.MAIN else parts.quarantine_tree()


class _Parts:
    """What the actors of one process share, and how each of them is made.

    Their limits at a stop are short: together with those of the jobs they are to fit into `shutdown_timeout`.
    """

    def __init__(self, app: App, config: Config, lane: Lane) -> None:
        self.app, self.config, self.lane = app, config, lane
        self.url, self.direct_url = _revealed(config.database_url), _revealed(config.direct_database_url)
        self.database = Database(
            self.url or "",  # our own server says its URL when it runs
            direct_url=self.direct_url,
            schema=config.schema,
            name=config.name or "supervisor",
        )
        self.kinds = app.catalog.kinds
        self.queues = list(config.queues) or app.catalog.queues
        self.lease, self.slots, self.outbox = Lease(), Slots(config.concurrency), Outbox()
        self.hooks = JobHooks() if app.on_job is None else JobHooks([app.on_job])
        self.wakes, self.suspects, self.unregistered = Wakes(), Signal(), Signal()
        self.identity = identity(config, lane)
        self.lifelock = LifeLock(self.identity.name)
        self.steps = StepLog()
        self.handlers = HandlerTasks(
            app.catalog, self.slots, self.outbox, self.steps, self.hooks, self.database, config.threads
        )

    # --- the trees ----------------------------------------------------------------------------------

    def main_tree(self) -> Supervisor:
        maintenance = Supervisor("maintenance", [self._reaper(), self._promoter(), self._pruner()])
        edge: list[Node] = [maintenance]
        if self.config.quarantine and self.config.app is not None:  # else another process could not find the app
            edge.append(self._quarantine())
        work: list[Node] = [self._completer(), self._executor(), self._claimer()]
        if self.config.until_empty:
            work.append(self._until_empty())
        core = [self._listener(), self._registrar(), self._heartbeater()]
        return self._root([self._database(), _in_order("core", core), Supervisor("edge", edge)], work)

    def quarantine_tree(self) -> Supervisor:
        first = [Child("parent_watch", ParentWatch, stop_timeout=0.2, cancel_grace=0.3), self._database()]
        core = [self._registrar(), self._heartbeater()]
        return self._root(
            [*first, _in_order("core", core)], [self._completer(), self._executor(), self._suspect_claimer()]
        )

    def _root(self, first: list[Node], work: list[Node]) -> Supervisor:
        app = self.app.actors_supervisor()
        ends = AutoShutdown.NEVER if app is None or not app.significant else AutoShutdown.ANY
        nodes = [*first, *([app] if app is not None else []), _in_order("work", work)]
        return Supervisor("root", nodes, Strategy.REST_FOR_ONE, auto_shutdown=ends)

    # --- the actors ---------------------------------------------------------------------------------

    def _database(self) -> Child[Any]:
        own = OwnServer(data_dir=self.config.data_dir, bindir=self.config.pg_bindir) if self.url is None else None

        def make() -> DatabaseActor:
            return DatabaseActor(
                self.database,
                direct_url=self.direct_url or self.url,
                own=own,
                care=self._care(),
                wait=self.config.database_wait,
            )

        start = DATABASE_START + self.config.database_wait
        return _child("database", make, start=start, stop=0.2, cancel=0.3, teardown=4.0 if own else 1.0)

    def _care(self) -> SchemaCare:
        if self.lane is not Lane.MAIN:
            return SchemaCare.TRUST
        return SchemaCare.MIGRATE if self.config.migrate else SchemaCare.VERIFY

    def _listener(self) -> Child[Any]:
        return _child("listener", lambda: Listener(self.database, self.wakes, self.handlers), stop=0.2, cancel=0.5)

    def _registrar(self) -> Child[Any]:
        def make() -> Registrar:
            return Registrar(
                self.database,
                self.lease,
                self.handlers,
                self.wakes,
                self.unregistered,
                self.suspects,
                identity=self.identity,
                lifelock=self.lifelock,
                folder=self.config.runtime_dir or default_dir(),
                offered=[_offered(job) for job in self.app.catalog],
                lease_length=self.config.lease,
                max_losses=self.config.max_losses,
            )

        return _child("registrar", make, stop=0.2, cancel=0.3, teardown=3.0)

    def _heartbeater(self) -> Child[Any]:
        def make() -> Heartbeater:
            return Heartbeater(
                self.database,
                self.lease,
                self.handlers,
                self.wakes,
                self.unregistered,
                rhythm=Rhythm(lease=self.config.lease, every=self.config.heartbeat),
                hard_limit=Budget(self.config.shutdown_timeout).hard,
            )

        return _child("heartbeater", make, stop=0.2, cancel=0.3, teardown=1.5)

    def _reaper(self) -> Child[Any]:
        return _child(
            "reaper",
            lambda: Reaper(self.database, self.wakes, self.suspects, max_losses=self.config.max_losses),
            stop=0.3,
            cancel=0.3,
        )

    def _promoter(self) -> Child[Any]:
        return _child("promoter", lambda: Promoter(self.database, self.wakes, self.suspects), stop=0.3, cancel=0.3)

    def _pruner(self) -> Child[Any]:
        return _child(
            "pruner", lambda: Pruner(self.database, history_days=self.config.history_days), stop=0.3, cancel=0.3
        )

    def _quarantine(self) -> Child[Any]:
        def make() -> Quarantine:
            return Quarantine(
                self.database,
                self.suspects,
                queues=self.queues,
                kinds=self.kinds,
                max_losses=self.config.max_losses,
                lifelock=self.lifelock,
                environ=environ_for(self.config, os.environ),
            )

        return _child("quarantine", make, stop=2.5, cancel=0.3, teardown=1.5)

    def _completer(self) -> Child[Any]:
        return _child(
            "completer",
            lambda: Completer(self.database, self.outbox, self.steps, self.wakes, self.hooks),
            stop=2.5,
            cancel=0.5,
        )

    def _executor(self) -> Child[Any]:
        return _child(
            "executor",
            lambda: Executor(
                self.database, self.lease, self.handlers, heartbeat=self.config.heartbeat, grace=HANDLER_GRACE
            ),
            stop=self.config.drain_timeout,
            cancel=0.3,
            teardown=HANDLER_GRACE + 0.5,
        )

    def _claimer(self) -> Child[Any]:
        def make() -> Claimer:
            return Claimer(
                self.database,
                self.lease,
                self.slots,
                self.handlers,
                self.outbox,
                self.wakes,
                queues=self.queues,
                poll=self.config.poll,
                idle_poll=self.config.idle_poll,
            )

        return _child("claimer", make, stop=0.5, cancel=0.3, teardown=0.5)

    def _suspect_claimer(self) -> Child[Any]:
        def make() -> SuspectClaimer:
            return SuspectClaimer(
                self.database,
                self.lease,
                self.slots,
                self.handlers,
                self.outbox,
                queues=self.queues,
                kinds=self.kinds,
                max_losses=self.config.max_losses,
            )

        return _child("claimer", make, stop=0.5, cancel=0.3, teardown=0.5)

    def _until_empty(self) -> Child[Any]:
        def make() -> UntilEmpty:
            return UntilEmpty(
                self.database,
                self.slots,
                self.outbox,
                queues=self.queues,
                kinds=self.kinds,
                suspects=self.config.quarantine,
            )

        return _child("until_empty", make, stop=0.2, cancel=0.3)


def _child(  # noqa: PLR0913 - the limits, each with its own meaning
    name: str,
    make: Callable[[], Actor[Any]],
    *,
    start: float = 10.0,
    stop: float,
    cancel: float,
    teardown: float = 0.2,
) -> Child[Any]:
    return Child(name, make, start_timeout=start, stop_timeout=stop, cancel_grace=cancel, teardown_timeout=teardown)


def _in_order(name: str, children: Sequence[Node]) -> Supervisor:
    return Supervisor(name, children, Strategy.REST_FOR_ONE)


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _offered(job: Job[Any]) -> Kind:
    return Kind(job.kind, job.queue, job.service, job.max_attempts, job.timeout, job.changes, job.essential)
