"""What every node of one tree shares: clock, events, dead letters, the shutdown deadline, the abandoned."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter, deque
from typing import TYPE_CHECKING

from supervisor.tree.clock import SystemClock
from supervisor.tree.events import DeadLetter, DeadLetterReason, Event, ExitRequested
from supervisor.tree.expiry import ASK_TIMEOUT, Expiry

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from supervisor.tree.clock import Clock
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.singletons import Singletons
    from supervisor.tree.snapshot import NodeSnapshot
    from supervisor.tree.tracing import MessageTracer

DEAD_LETTERS_KEPT = 100


class DeadLetters:
    """The messages that reached nobody: a count for each reason, and the last hundred."""

    __slots__ = ("counts", "last")

    def __init__(self) -> None:
        self.counts: Counter[DeadLetterReason] = Counter()
        self.last: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS_KEPT)


class Deadline:
    """The absolute limits of a shutdown, infinite until one begins.

    `drain_by`: no child drains beyond it. `end_by`: whatever still runs then is abandoned.
    """

    __slots__ = ("drain_by", "end_by", "stopping")

    def __init__(self) -> None:
        self.drain_by = math.inf
        self.end_by = math.inf
        self.stopping: set[Incarnation] = set()

    def tighten(self, drain_by: float, end_by: float) -> None:
        """Bring the limits forward, also for the children that are stopping at this moment."""
        self.drain_by = min(self.drain_by, drain_by)
        self.end_by = min(self.end_by, end_by)
        for incarnation in tuple(self.stopping):
            incarnation.hurry()


class Runtime:
    """The surroundings of one tree. Tests give it a fake clock; the process gives it a subscriber."""

    __slots__ = (
        "_subscribers",
        "abandoned",
        "asks",
        "clock",
        "dead_letters",
        "deadline",
        "expiry",
        "look",
        "loop",
        "on_exit_request",
        "random",
        "singletons",
        "tracer",
    )

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        tracer: MessageTracer | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.expiry = Expiry(self.clock)
        self.asks = self.expiry[ASK_TIMEOUT]
        # Set when the tree starts: asking asyncio for it costs every ask 0.2 µs.
        self.loop: AbstractEventLoop | None = None
        self.random = random.Random(seed)  # noqa: S311 - jitter, not secrets
        self.tracer = tracer
        self.deadline = Deadline()
        self.dead_letters = DeadLetters()
        self.abandoned: set[Incarnation] = set()
        self.on_exit_request: Callable[[int], None] | None = None
        # The whole tree as data, for actors that tell of it; set by the tree.
        self.look: Callable[[], NodeSnapshot] | None = None
        # Set by whoever grants them, before the first child that is one; without, there can be none.
        self.singletons: Singletons | None = None
        self._subscribers: list[Callable[[Event], None]] = []

    def subscribe(self, hook: Callable[[Event], None]) -> None:
        """Call `hook` with every event from now on. It must be quick, and must not raise."""
        self._subscribers.append(hook)

    def unsubscribe(self, hook: Callable[[Event], None]) -> None:
        """Take back `subscribe`."""
        self._subscribers.remove(hook)

    def emit(self, event: Event) -> None:
        """Tell every subscriber. One that raises is logged and harms neither the tree nor the others."""
        for hook in tuple(self._subscribers):
            try:
                hook(event)
            except Exception:  # the tree must outlive a broken subscriber
                logging.getLogger(__name__).exception("a subscriber failed on %s", type(event).__name__)

    def bury(self, path: str, message: object, reason: DeadLetterReason) -> None:
        """Record a message that reaches nobody."""
        letter = DeadLetter(path, reason, message)
        self.dead_letters.counts[reason] += 1
        self.dead_letters.last.append(letter)
        self.emit(letter)

    def stuck_under(self, path: str) -> bool:
        """Whether an abandoned incarnation at or below `path` holds what no other may share."""
        return any(
            (life.path == path or life.path.startswith(f"{path}/")) and not life.node.replaceable
            for life in self.abandoned
        )

    def request_exit(self, path: str, code: int, message: str | None = None) -> None:
        """Ask whoever runs the tree to stop all of it and leave with `code`."""
        self.emit(ExitRequested(path, code, message))
        if self.on_exit_request is not None:
            self.on_exit_request(code)
