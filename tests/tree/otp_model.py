"""A reference model of OTP's supervisor, to compare the tree with: no tasks, no clock, no code in common.

Written from the rules of OTP's `supervisor.erl`: restart types, the three strategies, the removal of
temporary children, `add_restart`, and the retry of a restart that failed. On top of it come what this
runtime does differently on purpose: a restart waits for its backoff, with the group down meanwhile; a
child stopped by command stays stopped when its group restarts; a restart by command is allowed at any time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Policy(enum.Enum):
    """OTP's restart types."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Group(enum.Enum):
    """OTP's restart strategies."""

    ONE = "one_for_one"
    ALL = "one_for_all"
    REST = "rest_for_one"


class Exit(enum.Enum):
    """How a child ends by itself."""

    NORMAL = "normal"
    CRASH = "crash"


class Attempt(enum.Enum):
    """What comes of a start."""

    RUNS = "runs"
    FAILS = "fails"
    IGNORES = "ignores"


@dataclass
class Member:
    """A child as the supervisor's state has it."""

    name: str
    policy: Policy
    up: bool = False
    """Its process is alive, or dead without the supervisor knowing yet."""
    exit: Exit | None = None
    """The exit signal on its way to the supervisor."""
    due: tuple[float, int] | None = None
    """When its restart is tried, and the how manieth restart it is: OTP's `restarting`, with a delay."""
    held: bool = False
    failures: int = 0
    since: float = 0.0


@dataclass(frozen=True)
class Limits:
    """The supervisor's flags, and the backoff of every child."""

    intensity: int
    period: float
    first: float
    cap: float
    healthy_after: float


@dataclass
class Model:
    """The supervisor. `journal` has every start that was tried and every stop, in order."""

    group: Group
    limits: Limits
    members: list[Member]
    plans: dict[str, list[Attempt]]
    now: float = 0.0
    restarts: list[float] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    decided: int = 0
    over: bool = False

    @property
    def running(self) -> set[str]:
        """Names of the children that are up."""
        return {member.name for member in self.members if member.up}

    def find(self, name: str) -> Member | None:
        """Find a child that is still known."""
        return next((member for member in self.members if member.name == name), None)

    def waits(self, member: Member) -> bool:
        """Whether it, or a sibling whose restart concerns it, is in a backoff."""
        return any(other.due is not None and member in self._concerned(other) for other in self.members)

    # --- what happens to it -----------------------------------------------------------------------

    def start(self) -> None:
        """`init_children`: start in order; the first failure takes the started ones down."""
        for member in list(self.members):
            if self._start(member) is Attempt.FAILS:
                self._shut_down()
                return

    def exits(self, ends: list[tuple[str, Exit]]) -> None:
        """Children end at the same moment; the supervisor reads their signals in this order."""
        dead = [(member, end) for name, end in ends if (member := self.find(name)) is not None and member.up]
        for member, end in dead:
            member.exit = end
        for member, _ in dead:
            if member in self.members and member.exit is not None and not self.over:
                self._handle_exit(member)

    def advance(self, seconds: float) -> None:
        """Time passes; restarts that fall due are tried."""
        until = self.now + seconds
        while (member := self._next_due(until)) is not None:
            assert member.due is not None
            self.now, member.due = member.due[0], None
            self._start_group(member)
        self.now = until

    def stop_child(self, name: str) -> None:
        """`terminate_child`."""
        if (member := self.find(name)) is not None:
            self._terminate(member)
            member.held = True
            if member.policy is Policy.TEMPORARY:
                self.members.remove(member)

    def restart_child(self, name: str) -> None:
        """`restart_child`, of a running child too."""
        if (member := self.find(name)) is not None:
            self._terminate(member)
            member.failures = 0
            self._start(member)

    # --- supervisor.erl ---------------------------------------------------------------------------

    def _handle_exit(self, member: Member) -> None:
        """`do_restart`."""
        end, member.exit, member.up = member.exit, None, False
        again = member.policy is Policy.PERMANENT or (member.policy is Policy.TRANSIENT and end is Exit.CRASH)
        if again:
            if self.now - member.since >= self.limits.healthy_after:
                member.failures = 0
            self._restart(member)
        elif member.policy is Policy.TEMPORARY:
            self.members.remove(member)

    def _restart(self, member: Member) -> None:
        """`restart` and `add_restart`; the start itself follows after the backoff."""
        self.restarts = [time for time in self.restarts if time >= self.now - self.limits.period]
        self.restarts.append(self.now)
        if len(self.restarts) > self.limits.intensity:
            self._shut_down()
            return
        member.failures += 1
        self.decided += 1
        delay = min(self.limits.cap, self.limits.first * 2 ** (member.failures - 1))
        member.due = (self.now + delay, self.decided)
        for other in reversed(self._concerned(member)):
            if other is not member:
                self._terminate(other)
                if other.policy is Policy.TEMPORARY:
                    self.members.remove(other)

    def _concerned(self, member: Member) -> list[Member]:
        match self.group:
            case Group.ONE:
                return [member]
            case Group.ALL:
                return list(self.members)
            case Group.REST:
                return self.members[self.members.index(member) :]

    def _start_group(self, first: Member) -> None:
        """`start_children`; a start that fails is one more restart, of the child that failed."""
        for member in self._concerned(first):
            if not member.held and self._start(member) is Attempt.FAILS:
                self._restart(member)
                return

    def _start(self, member: Member) -> Attempt:
        plan = self.plans[member.name]
        attempt = plan.pop(0) if plan else Attempt.RUNS
        self.journal.append(f"start {member.name}")
        member.held = False
        member.up = attempt is Attempt.RUNS
        member.since = self.now
        if attempt is Attempt.IGNORES and member.policy is Policy.TEMPORARY:
            self.members.remove(member)
        return attempt

    def _terminate(self, member: Member) -> None:
        """`do_terminate`: a signal of an exit that is still under way is flushed."""
        if member.up and member.exit is None:
            self.journal.append(f"stop {member.name}")
        member.up, member.exit, member.due = False, None, None

    def _shut_down(self) -> None:
        """`terminate_children`, in reverse order, and the end of the supervisor."""
        for member in reversed(self.members):
            self._terminate(member)
        self.over = True

    def _next_due(self, until: float) -> Member | None:
        due = [(member.due, member) for member in self.members if member.due is not None and member.due[0] <= until]
        return min(due, key=lambda pair: pair[0])[1] if due else None
