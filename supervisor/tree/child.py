"""A child: the durable slot in the tree. It owns the mailbox and the address; incarnations come and go."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from supervisor.errors import ConfigError
from supervisor.tree.actor import Actor
from supervisor.tree.backoff import Backoff
from supervisor.tree.mailbox import DEFAULT_CAPACITY, Mailbox, Overflow
from supervisor.tree.refs import ActorRef

if TYPE_CHECKING:
    from collections.abc import Callable

M = TypeVar("M")


class Restart(enum.Enum):
    """When an incarnation that ended by itself is followed by another."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a crash, not after a normal end."""
    TEMPORARY = "temporary"
    """Never; the child is forgotten when it ends."""


class Drain(enum.Enum):
    """Where an actor ends when it is asked to stop."""

    CURRENT = "current"
    """After the message it is handling."""
    QUEUE = "queue"
    """After every message that was queued by then."""


class OnStall(enum.Enum):
    """What follows when an actor has stalled."""

    LOG = "log"
    RESTART = "restart"


_SINGLETON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

KILL_LIMIT = 0.2
"""Seconds that the kill stage lasts: three native cancels, 50 ms apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each part of a child's life may take, in seconds."""

    start: float = 10.0
    stop: float = 5.0
    cancel: float = 2.0
    teardown: float = 2.0
    stall: float | None = None

    def __post_init__(self) -> None:
        if not self.start > 0:
            raise ConfigError(f"start_timeout = {self.start}: must be more than 0 seconds")
        for name in ("stop", "cancel", "teardown"):
            if not getattr(self, name) >= 0:
                option = "cancel_grace" if name == "cancel" else f"{name}_timeout"
                raise ConfigError(f"{option} = {getattr(self, name)}: must be 0 seconds or more")
        if self.stall is not None and not 0 < self.stall < math.inf:
            raise ConfigError(f"stall_after = {self.stall}: must be a positive number of seconds, or None for off")

    @property
    def whole_stop(self) -> float:
        """The longest that a stop can take, all stages and the teardown together."""
        return self.stop + max(self.cancel, self.teardown) + KILL_LIMIT


class Node:
    """What a supervisor can hold: a `Child` or another supervisor."""

    # A supervisor has no limits of its own: each of its children has, and none may be orphaned.
    patient: ClassVar[bool] = False

    __slots__ = (
        "backoff",
        "drain",
        "factory",
        "limits",
        "mailbox",
        "name",
        "on_stall",
        "owner",
        "replaceable",
        "restart",
        "significant",
        "singleton",
    )

    def __init__(  # noqa: PLR0913 - one place for everything a supervisor must know
        self,
        name: str,
        factory: Callable[[], Actor[Any]],
        mailbox: Mailbox[Any],
        *,
        restart: Restart | None,
        limits: Limits,
        backoff: Backoff,
        drain: Drain,
        significant: bool,
        replaceable: bool,
        on_stall: OnStall,
        singleton: str | None = None,
    ) -> None:
        if not name or "/" in name or not name.isprintable():
            raise ConfigError(f"child name {name!r}: must be printable, not empty, and free of '/'")
        given: object = factory
        if isinstance(given, Actor) or not callable(given):
            raise ConfigError(
                f"child {name!r}: the factory must be a class or function that makes a new actor each time, "
                f"not {type(factory).__name__}; write Child({name!r}, lambda: …)"
            )
        if significant and restart is Restart.PERMANENT:
            raise ConfigError(
                f"child {name!r} is significant and permanent: it would be restarted and never count as ended; "
                "use restart=Restart.TRANSIENT or TEMPORARY"
            )
        self.name = name
        self.factory = factory
        self.mailbox = mailbox
        self.restart = restart
        self.limits = limits
        self.backoff = backoff
        self.drain = drain
        self.significant = significant
        self.replaceable = replaceable
        self.on_stall = on_stall
        # The name under which it runs in one process at a time.
        self.singleton = singleton
        # The slot that runs this node; a node has one place in one tree.
        self.owner: object | None = None

    @property
    def kind(self) -> str:
        """What it is, for people, while no actor exists to ask."""
        return getattr(self.factory, "__name__", type(self.factory).__name__)

    @property
    def stop_limit(self) -> float:
        """The longest that stopping this node can take, in seconds, if its event loop runs."""
        return self.limits.whole_stop

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Child(Node, Generic[M]):
    """A named place in the tree: how to make the actor, when to restart it, how long it may take.

    `factory` is called for every incarnation, so it is a class or a function, never an instance.
    `restart` defaults to permanent, and to temporary under a `DynamicSupervisor`.

    A stop has four stages: *drain* for `stop_timeout` seconds (finish the current message, or with
    `Drain.QUEUE` the queued ones), *cancel* for `cancel_grace`, *kill* for 0.2 s, *abandon*. A
    `stop_timeout` of 0 begins with cancel. After one abandoned child the process recycles itself,
    unless the child is `replaceable`: it holds nothing that two incarnations must not share.

    `significant` children end their supervisor by ending (see `Supervisor`). `stall_after` seconds
    busy without progress emit `ChildStalled`, and with `OnStall.RESTART` restart the child.

    With a `singleton` it runs on one host at a time, of all that have a child with that name: it starts when this
    process has the name, and stands by until then, without taking messages. See `Actor.term`. It needs an app with
    jobs, whose database says who has the name.

    Raises ConfigError for values that cannot work.
    """

    __slots__ = ("ref",)

    ref: ActorRef[M]
    """The child's address; valid at once, and across restarts."""

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        name: str,
        factory: Callable[[], Actor[M]],
        *,
        restart: Restart | None = None,
        start_timeout: float = 10.0,
        stop_timeout: float = 5.0,
        cancel_grace: float = 2.0,
        teardown_timeout: float = 2.0,
        capacity: int = DEFAULT_CAPACITY,
        overflow: Overflow = Overflow.WAIT,
        drain: Drain = Drain.CURRENT,
        backoff: Backoff | None = None,
        significant: bool = False,
        replaceable: bool = False,
        stall_after: float | None = None,
        on_stall: OnStall = OnStall.LOG,
        singleton: str | None = None,
    ) -> None:
        try:
            limits = Limits(
                start=start_timeout,
                stop=stop_timeout,
                cancel=cancel_grace,
                teardown=teardown_timeout,
                stall=stall_after,
            )
        except ConfigError as error:
            raise ConfigError(f"child {name!r}: {error}") from None
        if on_stall is OnStall.RESTART and stall_after is None:
            raise ConfigError(f"child {name!r}: on_stall = RESTART does nothing without stall_after; set it")
        if singleton is not None and not _SINGLETON.fullmatch(singleton):
            raise ConfigError(
                f"child {name!r}: singleton = {singleton!r}: must be 1 to 64 letters, digits, '.', '_' or '-', "
                "and begin with a letter or digit"
            )
        mailbox: Mailbox[M] = Mailbox(name, capacity, overflow)
        super().__init__(
            name,
            factory,
            mailbox,
            restart=restart,
            limits=limits,
            backoff=backoff or Backoff(),
            drain=drain,
            significant=significant,
            replaceable=replaceable,
            on_stall=on_stall,
            singleton=singleton,
        )
        self.ref = ActorRef(mailbox)
