"""Holds the law of conservation: no message disappears without a dead letter that says why."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ActorCrashed, AskTimeout, GaveUp, MailboxClosed, MailboxFull, Stop, SupervisorError
from supervisor.testing import EventLog, FakeClock, crash, running, settle
from supervisor.tree.actor import Actor
from supervisor.tree.backoff import Backoff
from supervisor.tree.child import Child, Drain, Restart
from supervisor.tree.events import DeadLetter, DeadLetterReason
from supervisor.tree.mailbox import Envelope, Overflow
from supervisor.tree.runtime import Runtime
from supervisor.tree.supervisor import Supervisor
from tests.unit.puppet import Do, Please, Puppet, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.tree.refs import ActorRef, Reply


# --- the record ---------------------------------------------------------------------------------------


def test_the_last_hundred_are_kept_and_all_are_counted() -> None:
    """The record counts every dead letter by its reason and keeps the last hundred themselves."""
    runtime, log = Runtime(), list[object]()
    runtime.subscribe(log.append)
    for number in range(250):
        runtime.bury("x", number, DeadLetterReason.FULL if number % 5 else DeadLetterReason.EXPIRED)
    assert runtime.dead_letters.counts == {DeadLetterReason.FULL: 200, DeadLetterReason.EXPIRED: 50}
    assert [letter.message for letter in runtime.dead_letters.last] == list(range(150, 250))
    assert len(log) == 250
    assert log[0] == DeadLetter("x", DeadLetterReason.EXPIRED, 0)


def test_the_message_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even the complaint about a broken subscriber writes the message of a dead letter to a log."""

    def broken(_: object) -> None:
        raise ValueError

    runtime = Runtime()
    runtime.subscribe(broken)
    runtime.bury("x", "password=hunter2", DeadLetterReason.CLOSED)
    assert "a subscriber failed on DeadLetter" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_supervisor_that_gives_up_leaves_no_dead_letter() -> None:
    """What supervisors tell themselves is no message: giving up adds nothing to the dead letters."""
    clock, log = FakeClock(), EventLog()
    node = Child("x", Puppet)
    with pytest.raises(GaveUp):  # noqa: PT012 - raised at the end of the block
        async with running(Supervisor("root", [node], max_restarts=1), clock=clock, log=log):
            for _ in range(2):
                crash(node.ref, RuntimeError())
                await clock.advance(1)
    assert log.of(DeadLetter) == []


@pytest.mark.parametrize("restart", list(Restart))
async def test_what_waits_for_a_child_that_ended_is_buried_or_kept(restart: Restart) -> None:
    """The queue of a child that crashed waits for its next incarnation, or is buried if there will be none."""
    clock, log, heard = FakeClock(), EventLog(), list[object]()
    async with running(Child("x", lambda: Puppet(heard), restart=restart), clock=clock, log=log) as ref:
        poison = Do(fail)
        for message in (poison, "a", "b"):
            ref.tell_nowait(message)
        await clock.advance(1)
    dead = [(letter.message, letter.reason) for letter in log.of(DeadLetter)]
    assert dead[0] == (poison, DeadLetterReason.CRASHED)
    if restart is Restart.TEMPORARY:
        assert (heard, dead[1:]) == ([], [("a", DeadLetterReason.CLOSED), ("b", DeadLetterReason.CLOSED)])
    else:
        assert (heard, dead[1:]) == (["a", "b"], [])


async def test_a_child_that_never_ran_buries_what_it_was_sent() -> None:
    """Messages to a child whose tree did not get to start it are buried when the tree ends."""
    log = EventLog()

    class Broken(Actor[object]):
        async def setup(self) -> None:
            raise ValueError

    late = Child("late", Puppet)
    await late.ref.tell("early")
    with pytest.raises(SupervisorError):
        async with running(Supervisor("root", [Child("broken", Broken), late]), log=log):
            pass
    assert log.of(DeadLetter) == [DeadLetter("root/late", DeadLetterReason.CLOSED, "early")]


async def test_what_expires_unread_is_buried_by_the_next_reader() -> None:
    """Of the messages that a crash leaves queued, those whose asker has gone meanwhile become dead letters."""
    clock, log, heard = FakeClock(), EventLog(), list[object]()
    node = Child("x", lambda: Puppet(heard), backoff=Backoff(first=10, jitter=0, cap=10))
    supervisor = Supervisor("root", [node], within=1000)
    async with running(supervisor, clock=clock, log=log), asyncio.TaskGroup() as group:
        crash(node.ref, RuntimeError())
        await settle()
        asker = group.create_task(asks(node.ref.within(5)))
        await settle()
        await node.ref.tell("kept")
        await clock.advance(11)
        assert asker.result() == "AskTimeout"
    assert heard == ["kept"]
    assert [letter.reason for letter in log.of(DeadLetter)] == [DeadLetterReason.EXPIRED]


async def asks(ref: ActorRef[Please]) -> str:
    """Ask, and name the error."""
    try:
        await ref.ask(Please, fail)
    except SupervisorError as error:
        return type(error).__name__
    return "answered"


# --- the law ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message that is tracked from its sender to its end."""

    number: int
    kind: str
    reply: Reply[int] | None = None


class Porter(Actor[Parcel]):
    """Handles each parcel as its kind says, and signs for those it has handled."""

    def __init__(self, signed: list[int], hands: list[int], gate: asyncio.Event) -> None:
        self.signed = signed
        self.hands = hands
        self.gate = gate

    async def handle(self, parcel: Parcel) -> None:
        self.hands.append(parcel.number)
        try:
            match parcel.kind:
                case "crash":
                    raise ValueError
                case "slow":
                    await self.gate.wait()
                case "stop":
                    self.signed.append(parcel.number)
                    raise Stop
                case _:
                    pass
            self.signed.append(parcel.number)
            if parcel.reply is not None and parcel.kind != "mute":
                parcel.reply.send(parcel.number)
        finally:
            self.hands.remove(parcel.number)


@dataclass(frozen=True, slots=True)
class Send:
    """Send a parcel of this kind in this way."""

    how: str
    kind: str


@dataclass(frozen=True, slots=True)
class Pass:
    """Let this time pass."""

    seconds: float


STEPS = st.one_of(
    st.builds(
        Send, st.sampled_from(["tell", "tell_nowait", "ask"]), st.sampled_from(["quick", "quick", "slow", "mute"])
    ),
    st.builds(Send, st.sampled_from(["tell", "tell_nowait", "ask"]), st.sampled_from(["crash", "stop"])),
    st.sampled_from(["crash", "stop_child", "restart_child", "open gate", "shut gate", "give up waiting"]),
    st.builds(Pass, st.sampled_from([0.0, 0.5, 2.0, 6.0])),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The options of the child under test."""

    overflow: Overflow
    drain: Drain
    restart: Restart
    capacity: int
    stop_timeout: float


POLICIES = st.builds(
    Policy,
    overflow=st.sampled_from(Overflow),
    drain=st.sampled_from(Drain),
    restart=st.sampled_from(Restart),
    capacity=st.integers(1, 3),
    stop_timeout=st.sampled_from([0.0, 5.0]),
)


class Ledger:
    """Sends parcels to one child through a random life, and accounts for each of them."""

    def __init__(self, policy: Policy) -> None:
        self.clock = FakeClock()
        self.log = EventLog()
        self.signed: list[int] = []
        self.hands: list[int] = []
        self.gate = asyncio.Event()
        self.sent = 0
        self.refused: dict[int, DeadLetterReason] = {}
        self.cancelled: set[int] = set()
        self.senders: dict[asyncio.Task[None], int] = {}
        self.child = Child(
            "porter",
            lambda: Porter(self.signed, self.hands, self.gate),
            backoff=Backoff(first=1, factor=1, jitter=0),
            overflow=policy.overflow,
            drain=policy.drain,
            restart=policy.restart,
            capacity=policy.capacity,
            stop_timeout=policy.stop_timeout,
        )
        self.supervisor = Supervisor("root", [self.child], max_restarts=4)

    async def run(self, steps: Sequence[Send | Pass | str]) -> None:
        async with asyncio.TaskGroup() as group:
            with suppress(GaveUp):
                async with running(self.supervisor, clock=self.clock, log=self.log):
                    for step in steps:
                        await self.take(step, group)
                        await settle()
                        self.check()
                    self.gate.set()
            await self.clock.advance(10)
            self.check()
            assert not self.senders
            assert len(self.child.mailbox) == 0

    async def take(self, step: Send | Pass | str, group: asyncio.TaskGroup) -> None:
        match step:
            case Send(how, kind):
                self.sent += 1
                task = group.create_task(self.send(how, kind, self.sent))
                self.senders[task] = self.sent
                task.add_done_callback(self.senders.pop)
            case Pass(seconds):
                await self.clock.advance(seconds)
            case "crash":
                crash(self.child.ref, RuntimeError())
            case "stop_child" | "restart_child":
                group.create_task(self.command(step))
            case "open gate":
                self.gate.set()
            case "shut gate":
                self.gate.clear()
            case "give up waiting":
                for task, number in self.senders.items():
                    self.cancelled.add(number)
                    task.cancel()
                    break
            case str():
                raise AssertionError(step)
            case _:
                assert_never(step)

    async def send(self, how: str, kind: str, number: int) -> None:
        ref = self.child.ref
        try:
            match how:
                case "tell":
                    await ref.tell(Parcel(number, kind))
                case "tell_nowait":
                    ref.tell_nowait(Parcel(number, kind))
                case _:
                    await ref.within(4).ask(lambda reply: Parcel(number, kind, reply))
        except MailboxClosed:
            if how != "ask":
                self.refused[number] = DeadLetterReason.CLOSED
        except MailboxFull:
            self.refused[number] = DeadLetterReason.FULL
        except (ActorCrashed, AskTimeout):
            # The message may have been handled; `check` knows.
            pass

    async def command(self, name: str) -> None:
        with suppress(SupervisorError):
            await getattr(self.supervisor, name)("porter")

    def check(self) -> None:
        """Every parcel sent so far must be in exactly one place."""
        letters = [(number_of(letter.message), letter.reason) for letter in self.log.of(DeadLetter, name="porter")]
        queued = [number_of(item) for item in self.child.mailbox.items]
        places = Counter([*self.signed, *queued, *(number for number, _ in letters)])
        # A parcel of kind "stop" is signed while it is still in hand.
        places += Counter(number for number in self.hands if number not in places)
        places += Counter(number for number in self.senders.values() if number not in places)
        missing = {number for number in range(1, self.sent + 1) if number not in places}
        assert missing <= self.cancelled, f"{missing} disappeared"
        assert [number for number, count in places.items() if count > 1] == []
        assert self.refused.items() <= dict(letters).items()


def number_of(item: object) -> int:
    """Find the parcel in what lies in a mailbox."""
    parcel = item.message if isinstance(item, Envelope) else item
    assert isinstance(parcel, Parcel)
    return parcel.number


@hypothesis.given(POLICIES, st.lists(STEPS, max_size=25))
async def test_every_message_is_accounted_for(policy: Policy, steps: list[Send | Pass | str]) -> None:
    """What was sent was handled, waits, was given up by its sender, or is a dead letter: exactly one of these."""
    await Ledger(policy).run(steps)


@pytest.mark.soak
@hypothesis.given(POLICIES, st.lists(STEPS, max_size=100))
async def test_every_message_is_accounted_for_in_a_long_life(policy: Policy, steps: list[Send | Pass | str]) -> None:
    """The same holds for many more and longer lives."""
    await Ledger(policy).run(steps)
