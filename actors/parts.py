"""What the actors of one process share, and what wires them.

The limits of a child at a stop are short: together with those of the jobs they are to fit into `shutdown_timeout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.jobs.handler_tasks import HandlerTasks
from supervisor.jobs.hooks import JobHooks
from supervisor.jobs.lease import Lease
from supervisor.jobs.outbox import Outbox
from supervisor.jobs.pressure import Pressure
from supervisor.jobs.slots import Slots
from supervisor.jobs.step_log import StepLog
from supervisor.jobs.switches import Switches
from supervisor.jobs.wakes import Wakes
from supervisor.process.identity import identity
from supervisor.process.lifelock import LifeLock
from supervisor.store.database import Database
from supervisor.store.kinds import Kind
from supervisor.tree.child import Child
from supervisor.tree.signal import Signal
from supervisor.tree.strategy import Strategy
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.app import App
    from supervisor.config import Config, Lane, Secret
    from supervisor.jobs.job import Job
    from supervisor.tree.actor import Actor
    from supervisor.tree.child import Node


class Parts:
    """One of each for the whole process; who writes what is said where it is made."""

    def __init__(self, app: App, config: Config, lane: Lane) -> None:
        self.app, self.config, self.lane = app, config, lane
        self.url, self.direct_url = revealed(config.database_url), revealed(config.direct_database_url)
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
        self.pressure = Pressure()
        self.identity = identity(config, lane, self.queues)
        self.lifelock = LifeLock(self.identity.name)
        self.steps, self.switches = StepLog(), Switches()
        self.handlers = HandlerTasks(
            app.catalog, self.slots, self.outbox, self.steps, self.hooks, self.database, config.threads
        )


def child(  # noqa: PLR0913 - the limits, each with its own meaning
    name: str,
    make: Callable[[], Actor[Any]],
    *,
    start: float = 10.0,
    stop: float,
    cancel: float,
    teardown: float = 0.2,
) -> Child[Any]:
    """Make a child with its limits, in seconds."""
    return Child(name, make, start_timeout=start, stop_timeout=stop, cancel_grace=cancel, teardown_timeout=teardown)


def in_order(name: str, children: Sequence[Node]) -> Supervisor:
    """Put children under a supervisor that restarts those after the one that failed."""
    return Supervisor(name, children, Strategy.REST_FOR_ONE)


def revealed(secret: Secret | None) -> str | None:
    """Return what a setting hides, for the one who uses it."""
    return None if secret is None else secret.reveal()


def offered(job: Job[Any]) -> Kind:
    """Say what the database needs to know of a kind of jobs."""
    return Kind(job.kind, job.queue, job.service, job.max_attempts, job.timeout, job.changes, job.essential)
