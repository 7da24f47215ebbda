"""A program: the jobs and the actors it runs. `python -m supervisor --app shop:app` starts one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor.errors import ConfigError
from supervisor.jobs.catalog import Catalog
from supervisor.jobs.job import Job
from supervisor.jobs.limit import Limit
from supervisor.tree.child import Node, Restart
from supervisor.tree.strategy import AutoShutdown, Strategy
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from supervisor.jobs.events import JobEvent

T = TypeVar("T")


class App:
    """What one process runs: `jobs`, those that it can do, and `actors` of your own, in start order.

    `strategy`, `max_restarts`, `within` and `auto_shutdown` are those of the supervisor above the actors; see
    `Supervisor`. Without jobs it is the root, and no database is needed. With jobs it is called `app`; it starts
    before the first job and stops after the last.

    `limits` are made in the database where there are none of their names; after that, what people set there holds.

    `on_job` is called on the event loop with each event of each job (see `jobs.events`), so it must be quick: give what
    takes time to an actor. What it raises is logged and changes nothing.

    Raises ConfigError for an app that cannot work.
    """

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        actors: Sequence[Node] = (),
        *,
        jobs: Sequence[Job[Any]] = (),
        limits: Sequence[Limit] = (),
        on_job: Callable[[JobEvent], object] | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 5,
        within: float = 60.0,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        self.actors = tuple(_several("actors", actors, "Child", Node))
        for place, node in enumerate(self.actors):
            _check_actor(place, node)
        self.catalog = Catalog(_jobs(jobs))
        if not len(self.catalog):
            _refuse_singletons(self.actors)
        self.limits = _limits(limits)
        self.on_job = _checked_hook(on_job)
        self.strategy = _member("strategy", strategy, Strategy)
        self.max_restarts = max_restarts
        self.within = within
        self.auto_shutdown = _member("auto_shutdown", auto_shutdown, AutoShutdown)
        self.root = self._supervisor("root")

    @property
    def jobs(self) -> tuple[Job[Any], ...]:
        """The jobs that the app can do."""
        return tuple(self.catalog)

    def actors_supervisor(self) -> Supervisor | None:
        """Make the supervisor `app` above the actors, for the tree of an app with jobs; None if it has no actors.

        With an `auto_shutdown` it is significant, so the supervisor above it needs one too.
        """
        return self._supervisor("app") if self.actors else None

    def _supervisor(self, name: str) -> Supervisor:
        ends = name != "root" and self.auto_shutdown is not AutoShutdown.NEVER
        return Supervisor(
            name,
            self.actors,
            self.strategy,
            max_restarts=self.max_restarts,
            within=self.within,
            auto_shutdown=self.auto_shutdown,
            restart=Restart.TRANSIENT if ends else Restart.PERMANENT,
            significant=ends,
        )


def _jobs(jobs: object) -> Sequence[Job[Any]]:
    found: list[Job[Any]] = []
    for place, each in enumerate(_several("jobs", jobs, "Job", Job)):
        if isinstance(each, Node):
            raise ConfigError(f"App: jobs[{place}] is {each!r}, which is no job: put it into actors")
        found.append(each)
    return found


def _limits(limits: object) -> tuple[Limit, ...]:
    found: dict[str, Limit] = {}
    for place, each in enumerate(_several("limits", limits, "Limit", Limit)):
        if not isinstance(each, Limit):
            raise ConfigError(f"App: limits[{place}] is {each!r}, which is no Limit: write Limit.window(…), say")
        if each.name in found:
            raise ConfigError(f"App: limits[{place}] is the second of name {each.name!r}: give each its own")
        found[each.name] = each
    return tuple(found.values())


def _several(field: str, given: object, what: str, kind: type) -> list[Any]:
    """Return what an option lists; a single one is what people write by mistake."""
    if isinstance(given, kind):
        raise ConfigError(f"App: {field}={given!r} is one {what}: write {field}=[…] around it")
    if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
        raise ConfigError(f"App: {field}={given!r} is no list: write {field}=[…]")
    return list(given)


def _check_actor(place: int, node: object) -> None:
    if isinstance(node, Node):
        return
    if isinstance(node, Job):
        raise ConfigError(f"App: actors[{place}] is {node!r}, which is no actor: put it into jobs")
    name = getattr(node, "__name__", type(node).__name__)
    raise ConfigError(f"App: actors[{place}] is {node!r}: write Child({name.lower()!r}, {name}), or a Supervisor")


def _refuse_singletons(nodes: Iterable[Node]) -> None:
    for node in nodes:
        if node.singleton is not None:
            raise ConfigError(
                f"App: child {node.name!r} has singleton={node.singleton!r}, and an app without jobs has no database "
                "that could say on which host it runs: declare a job, or leave singleton out"
            )
        if isinstance(node, Supervisor):
            _refuse_singletons(node.children)


def _checked_hook(hook: T) -> T:
    if hook is not None and not callable(hook):
        raise ConfigError(f"App: on_job={hook!r}: must be a function of one event")
    if inspect.iscoroutinefunction(hook):
        raise ConfigError(
            f"App: on_job={hook!r}: must be a plain `def`; send what takes time to an actor, by tell_nowait"
        )
    return hook


def _member(field: str, value: T, kind: type[T]) -> T:
    if not isinstance(value, kind):
        names = ", ".join(f"{kind.__name__}.{each.name}" for each in kind)  # type: ignore[attr-defined]
        raise ConfigError(f"App: {field}={value!r}: must be one of {names}")
    return value
