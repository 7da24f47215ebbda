"""What users write for a supervisor: its children, its strategy, and its patience."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeVar

from supervisor.errors import ConfigError, MailboxClosed, NotRunning
from supervisor.tree.backoff import Backoff
from supervisor.tree.child import Drain, Limits, Node, OnStall, Restart
from supervisor.tree.commands import AddChild, Command, RemoveChild, RestartChild, StopChild
from supervisor.tree.keeper import Keeper
from supervisor.tree.mailbox import Mailbox
from supervisor.tree.refs import ActorRef
from supervisor.tree.strategy import AutoShutdown, Strategy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

OWN_STOP: Final = 0.25
"""Seconds that a supervisor itself may take to stop, beside its children."""

# Its children's limits are its limits; see `Supervisor.stop_limit`.
_UNLIMITED = Limits(start=math.inf, stop=math.inf, teardown=math.inf)


class Supervisor(Node):
    """Starts its children in order, restarts those that fail, and stops them in reverse order.

    After more than `max_restarts` restarts within `within` seconds it gives up: it stops its
    children and fails, which its own supervisor treats like any crash. At the root that ends the
    process with exit code 70. `restart` and `backoff` say what its own supervisor does about it.

    `auto_shutdown` ends it normally when `any` or `all` of its `significant` children have ended by
    themselves; only children that are not permanent can be significant.

    Raises ConfigError, with the reason, for a tree that cannot work.
    """

    patient = True

    __slots__ = ("auto_shutdown", "children", "commands", "max_restarts", "strategy", "within")

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        name: str,
        children: Sequence[Node] = (),
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        *,
        max_restarts: int = 5,
        within: float = 60.0,
        restart: Restart = Restart.PERMANENT,
        backoff: Backoff | None = None,
        significant: bool = False,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        if max_restarts < 1:
            raise ConfigError(f"supervisor {name!r}: max_restarts = {max_restarts}; must be 1 or more")
        if not 0 < within < math.inf:
            raise ConfigError(f"supervisor {name!r}: within = {within}; must be a positive, finite number of seconds")
        mailbox: Mailbox[Command] = Mailbox(name)
        super().__init__(
            name,
            self._make_keeper,
            mailbox,
            restart=restart,
            limits=_UNLIMITED,
            backoff=backoff or Backoff(),
            drain=Drain.CURRENT,
            significant=significant,
            replaceable=False,
            on_stall=OnStall.LOG,
        )
        self.children = tuple(children)
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.within = within
        self.auto_shutdown = auto_shutdown
        # Without a limit of its own: the supervisor answers, or ends and says so.
        self.commands: ActorRef[Command] = ActorRef(mailbox, math.inf)
        names: set[str] = set()
        for child in self.children:
            self.check_child(child)
            if child.name in names:
                raise ConfigError(f"supervisor {name!r}: two children are named {child.name!r}; names must differ")
            names.add(child.name)

    def _make_keeper(self) -> Keeper:
        return Keeper(self)

    def check_child(self, child: Node) -> None:
        """Raise ConfigError if this supervisor could not do right by `child`."""
        where = f"supervisor {self.name!r}: child {child.name!r}"
        restart = child.restart or self._default_restart()
        if child.significant and restart is Restart.PERMANENT:
            raise ConfigError(
                f"{where} is significant and permanent: it would be restarted and never count as ended; "
                "use restart=Restart.TRANSIENT or TEMPORARY"
            )
        if child.significant and self.auto_shutdown is AutoShutdown.NEVER:
            raise ConfigError(f"{where} is significant, but auto_shutdown is NEVER; use AutoShutdown.ANY or ALL")
        longest = child.backoff.longest(self.max_restarts)
        if restart is not Restart.TEMPORARY and longest >= self.within:
            raise ConfigError(
                f"{where}: this supervisor can never give up: {self.max_restarts} restarts take up to {longest:.1f} s "
                f"of backoff, and within is {self.within:g} s; lower max_restarts or the backoff, or raise within"
            )

    def _default_restart(self) -> Restart:
        return Keeper.default_restart

    @property
    def kind(self) -> str:
        """Its strategy."""
        return self.strategy.value

    @property
    def stop_limit(self) -> float:
        """The longest that stopping it can take, in seconds: its children one after the other."""
        return sum(child.stop_limit for child in self.children) + OWN_STOP

    async def add_child(self, child: Node) -> None:
        """Start a new last child, and return when it runs.

        Raises StartFailed (the child is forgotten again), ChildExists, ConfigError, NotRunning.
        """
        await self._ask(lambda: self.commands.ask(AddChild, child))

    async def stop_child(self, name: str) -> None:
        """Stop a child and keep its place; it stays stopped, whatever its siblings do.

        Raises UnknownChild, NotRunning.
        """
        await self._ask(lambda: self.commands.ask(StopChild, name))

    async def restart_child(self, name: str) -> None:
        """Start a stopped child, or stop and start a running one, with its backoff forgotten.

        Raises StartFailed, UnknownChild, NotRunning.
        """
        await self._ask(lambda: self.commands.ask(RestartChild, name))

    async def remove_child(self, name: str) -> None:
        """Forget a stopped child. Raises ChildBusy unless it is stopped, UnknownChild, NotRunning."""
        await self._ask(lambda: self.commands.ask(RemoveChild, name))

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        if not self.mailbox.alive:
            raise NotRunning(f"supervisor {self.mailbox.path} is not running")
        try:
            return await command()
        except MailboxClosed:
            raise NotRunning(f"supervisor {self.mailbox.path} is stopping") from None
