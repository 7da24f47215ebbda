"""A reference model of OTP's supervisor, to compare the tree with: no tasks, no clock, no code in common.

Written from the rules of OTP's `supervisor.erl`: restart types, the three strategies, the removal of
temporary children, `add_restart`, the retry of a restart that failed, one message at a time. On top come
the things that this runtime does otherwise on purpose: a restart waits for its backoff, with the group
down meanwhile; commands come after the news of children; a child stopped by command stays stopped when
its group restarts; a restart by command is always possible, and brings a waiting group back with it.

Everything the supervisor does is a generator that yields the seconds it waits for a child to start or stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field

from tests.tree.otp_terms import Attempt, Exit, Group, Limits, Member, Policy

Work = Generator[float | None, None, None]


@dataclass
class Model:
    """The supervisor. `journal` has every start that was tried and every stop, in order."""

    group: Group
    limits: Limits
    members: list[Member]
    plans: dict[str, list[Attempt]]
    now: float = 0.0
    over: bool = False
    journal: list[str] = field(default_factory=list)
    _restarts: list[float] = field(default_factory=list)
    _signals: deque[Work] = field(default_factory=deque)
    _commands: deque[Work] = field(default_factory=deque)
    _numbers: int = 0
    _work: Work | None = None
    _resumes: tuple[float, int] | None = None

    @property
    def running(self) -> set[str]:
        """Names of the children that run."""
        return {member.name for member in self.members if member.running}

    def find(self, name: str) -> Member | None:
        """Find a child that is still known."""
        return next((member for member in self.members if member.name == name), None)

    # --- what happens to it -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run."""
        self._work = self._live()
        self._go_on()

    def exits(self, ends: list[tuple[str, Exit]]) -> None:
        """These children, which run, end at the same moment; their signals arrive in this order."""
        for name, end in ends:
            member = self.find(name)
            assert member is not None
            member.exit, member.died = end, self.now
            self._signals.append(self._on_exit(member, member.process))
        self._wake()

    def command(self, name: str, *, stop: bool) -> None:
        """`terminate_child` or `restart_child`."""
        self._commands.append(self._stop_child(name) if stop else self._restart_child(name))
        self._wake()

    def advance(self, seconds: float) -> None:
        """Let time pass, from one moment to the next at which something happens."""
        until = self.now + seconds
        while True:
            dues = [(member.due, member) for member in self.members if member.due is not None]
            due = min(dues, key=lambda pair: pair[0], default=None)
            moment = min(filter(None, (self._resumes, due and due[0])), default=None)
            if moment is None or moment[0] > until or self.over:
                break
            self.now = moment[0]
            if moment == self._resumes:
                self._go_on()
            elif due is not None:
                due[1].due = None
                self._signals.append(self._on_due(due[1], due[1].turn))
                self._wake()
        self.now = until

    # --- one message at a time --------------------------------------------------------------------

    def _wake(self) -> None:
        if self._resumes is None:
            self._go_on()

    def _go_on(self) -> None:
        """Run on until the supervisor waits for a child, for a message, or is over."""
        assert self._work is not None
        self._resumes = None
        for seconds in self._work:
            if seconds is None:
                return
            if seconds:
                self._resumes = (self.now + seconds, self._number())
                return

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _live(self) -> Work:
        """`init_children`, then the loop of `gen_server`."""
        for member in list(self.members):
            if (yield from self._start(member)) is Attempt.FAILS:
                yield from self._shut_down()
                break
        while not self.over:
            if self._signals:
                yield from self._signals.popleft()
            elif self._commands:
                yield from self._commands.popleft()
            else:
                yield None

    # --- supervisor.erl ---------------------------------------------------------------------------

    def _on_exit(self, member: Member, process: int) -> Work:
        """`do_restart`, unless the signal was flushed or comes from an earlier process."""
        if member not in self.members or member.process != process or member.exit is None:
            return
        end, member.exit, member.up = member.exit, None, False
        policy = member.kind.policy
        if policy is Policy.PERMANENT or (policy is Policy.TRANSIENT and end is Exit.CRASH):
            if member.died - member.since >= self.limits.healthy_after:
                member.failures = 0
            yield from self._restart(member)
        elif policy is Policy.TEMPORARY:
            self.members.remove(member)

    def _on_due(self, member: Member, turn: int) -> Work:
        """`try_again_restart`, unless it was called off."""
        if member in self.members and member.turn == turn:
            yield from self._start_group(member)

    def _restart(self, member: Member) -> Work:
        """`restart` and `add_restart`; the start itself follows after the backoff."""
        self._restarts = [time for time in self._restarts if time >= self.now - self.limits.period]
        self._restarts.append(self.now)
        if len(self._restarts) > self.limits.intensity:
            yield from self._shut_down()
            return
        member.failures += 1
        delay = min(self.limits.cap, self.limits.first * 2 ** (member.failures - 1))
        member.due, member.leader = (self.now + delay, self._number()), member
        for other in reversed(self._concerned(member)):
            if other is not member:
                self._call_off(other)
                yield from self._terminate(other)
                other.leader = None if other.held else member
                if other.kind.policy is Policy.TEMPORARY:
                    self.members.remove(other)

    def _concerned(self, member: Member) -> list[Member]:
        match self.group:
            case Group.ONE:
                return [member]
            case Group.ALL:
                return list(self.members)
            case Group.REST:
                return self.members[self.members.index(member) :]

    def _start_group(self, first: Member) -> Work:
        """`start_children`; a start that fails is one more restart, of the child that failed."""
        self._call_off(first)
        for member in self._concerned(first):
            if not member.held and not member.up and (yield from self._start(member)) is Attempt.FAILS:
                yield from self._restart(member)
                return

    def _start(self, member: Member) -> Generator[float | None, None, Attempt]:
        """`do_start_child`."""
        plan = self.plans[member.name]
        attempt = plan.pop(0) if plan else Attempt.RUNS
        self.journal.append(f"start {member.name}")
        self._call_off(member)
        member.held = False
        yield member.kind.start_takes
        member.process += 1
        member.up = attempt is Attempt.RUNS
        member.since = self.now
        if attempt is Attempt.IGNORES and member.kind.policy is Policy.TEMPORARY:
            self.members.remove(member)
        return attempt

    def _terminate(self, member: Member) -> Work:
        """`do_terminate`; the signal of an exit that is under way is flushed."""
        member.leader = None
        if member.running:
            self.journal.append(f"stop {member.name}")
            member.stopping = True
            yield member.kind.stop_takes
        member.up, member.stopping, member.exit = False, False, None

    def _call_off(self, member: Member) -> None:
        member.due, member.leader = None, None
        member.turn += 1

    def _shut_down(self) -> Work:
        """`terminate_children`, in reverse order, and the end of the supervisor."""
        for member in reversed(self.members):
            yield from self._terminate(member)
        self.over = True

    # --- commands ---------------------------------------------------------------------------------

    def _stop_child(self, name: str) -> Work:
        """`terminate_child`; whoever waits for this child's backoff goes on waiting for it."""
        if (member := self.find(name)) is not None:
            member.held = True
            yield from self._terminate(member)
            if member.kind.policy is Policy.TEMPORARY:
                self.members.remove(member)

    def _restart_child(self, name: str) -> Work:
        """`restart_child`; if its group waits for a backoff, they all start now."""
        if (member := self.find(name)) is None:
            return
        leaders = [other.leader for other in self.members if other.leader is not None]
        leader = next((leader for leader in leaders if member in self._concerned(leader)), None)
        yield from self._terminate(member)
        member.held, member.failures = False, 0
        if leader is None or self.group is Group.ONE:
            yield from self._start(member)
        else:
            yield from self._start_group(leader)
