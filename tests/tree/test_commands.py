"""How a running supervisor is changed: children are added, stopped, restarted and removed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from supervisor import Actor, Backoff, Child, Restart, Stop, Strategy, Supervisor
from supervisor.errors import (
    AskCycle,
    ChildBusy,
    ChildExists,
    ConfigError,
    MailboxClosed,
    NotRunning,
    StartFailed,
    UnknownChild,
)
from supervisor.testing import Slow, crash, settle
from supervisor.tree.events import ChildExited, ChildRestarting, ChildStarted
from supervisor.tree.slot import State
from tests.tree.actors import BadStarts, Diarist, Gated, Puppet, Rig, during, failure, generations, states

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Work = Coroutine[object, object, None]

EXACT = Backoff(jitter=0)


class Meddler(Actor[object]):
    """Gives its own supervisor, or one above it, a command in its setup or at its end."""

    def __init__(self, command: Callable[[], Work], errors: list[Exception | None], when: str = "setup") -> None:
        self.command = command
        self.errors = errors
        self.when = when

    async def setup(self) -> None:
        if self.when == "setup":
            self.errors.append(await failure(self.command()))

    async def teardown(self) -> None:
        if self.when == "teardown":
            self.errors.append(await failure(self.command()))


async def started(strategy: Strategy = Strategy.ONE_FOR_ONE, diary: list[str] | None = None) -> tuple[Rig, Supervisor]:
    """Start a tree of three children."""
    diary = [] if diary is None else diary
    root = Supervisor("root", [Child(name, partial(Diarist, diary), backoff=EXACT) for name in "abc"], strategy)
    rig = Rig(root)
    await rig.tree.start()
    return rig, root


def child_of(root: Supervisor, name: str) -> Child[object]:
    """Find a child by name."""
    found = next(child for child in root.children if child.name == name)
    assert isinstance(found, Child)
    return found


async def test_an_added_child_is_the_last() -> None:
    """A child added to a running supervisor runs when the call returns, and stops first."""
    diary: list[str] = []
    rig, root = await started(diary=diary)
    await root.add_child(Child("d", partial(Diarist, diary)))
    assert states(rig.tree)["d"] is State.RUNNING
    await root.add_child(Supervisor("nested", [Child("e", partial(Diarist, diary))]))
    diary.clear()
    await rig.stop()
    assert diary == [f"teardown {name}" for name in "edcba"]


async def test_a_child_that_cannot_be_added_is_forgotten() -> None:
    """A child that fails to start, is misconfigured, or has its name or itself in use, is refused with the reason."""
    rig, root = await started()
    before = states(rig.tree)
    cases: list[tuple[Child[object], type[Exception], str]] = [
        (Child("d", partial(BadStarts, [OSError("no")])), StartFailed, "root/d failed to start: OSError: no"),
        (Child("a", Puppet), ChildExists, "root has a child named 'a' already"),
        (Child("d", Puppet, significant=True, restart=Restart.TEMPORARY), ConfigError, "auto_shutdown"),
        (Child("d", Puppet, backoff=Backoff(first=30, cap=30)), ConfigError, "never give up"),
    ]
    for child, kind, text in cases:
        error = await failure(root.add_child(child))
        assert isinstance(error, kind)
        assert text in str(error)
    nested = Supervisor("nested")
    await root.add_child(nested)
    assert isinstance(await failure(nested.add_child(child_of(root, "a"))), ConfigError)
    await root.stop_child("nested")
    await root.remove_child("nested")
    assert states(rig.tree) == before
    await rig.stop()


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("failing", ["a", "c"])
async def test_a_child_stopped_by_command_stays_stopped(strategy: Strategy, failing: str) -> None:
    """A stopped child keeps its place, takes no messages, and no sibling's failure starts it again."""
    rig, root = await started(strategy)
    await root.stop_child("b")
    for _ in range(2):
        crash(child_of(root, failing).ref, ValueError())
        await rig.clock.advance(1)
    assert states(rig.tree) == {"a": State.RUNNING, "b": State.STOPPED, "c": State.RUNNING}
    with pytest.raises(MailboxClosed):
        child_of(root, "b").ref.tell_nowait("anybody there?")
    await root.restart_child("b")
    child_of(root, "b").ref.tell_nowait("hello")
    assert states(rig.tree)["b"] is State.RUNNING
    crash(child_of(root, failing).ref, ValueError())
    await rig.clock.advance(1)
    touched = strategy is Strategy.ONE_FOR_ALL or (strategy is Strategy.REST_FOR_ONE and failing == "a")
    assert generations(rig.tree)["b"] == (3 if touched else 2)
    await rig.stop()


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY])
async def test_a_stop_by_command_is_not_a_failure(restart: Restart) -> None:
    """A child stopped by command is not restarted whatever its policy, and a temporary one is forgotten."""
    root = Supervisor("root", [Child("a", Puppet, restart=restart)])
    rig = Rig(root)
    await rig.tree.start()
    await root.stop_child("a")
    await rig.clock.advance(60)
    assert states(rig.tree) == ({} if restart is Restart.TEMPORARY else {"a": State.STOPPED})
    assert rig.log.of(ChildRestarting) == []
    await rig.stop()


async def test_a_restart_by_command_forgives_and_does_not_count() -> None:
    """A restart by command is immediate, is not counted, and starts the backoff over."""
    rig, root = await started()
    child = child_of(root, "a")
    for _ in range(3):
        crash(child.ref, ValueError())
        await rig.clock.advance(1)
    await root.restart_child("a")
    assert generations(rig.tree) == {"a": 5, "b": 1, "c": 1}
    crash(child.ref, ValueError())
    await settle()
    restarting = rig.log.of(ChildRestarting)
    assert [event.delay for event in restarting] == [0.1, 0.2, 0.4, 0.1]
    assert [event.restarts for event in restarting] == [1, 2, 3, 4]
    await root.restart_child("a")
    assert states(rig.tree)["a"] is State.RUNNING
    rig.mark()
    await rig.clock.advance(10)
    assert rig.log.of(ChildStarted) == [], "the backoff that the command replaced is over"
    await rig.stop()


async def test_a_failed_restart_by_command_leaves_the_child_down() -> None:
    """A restart by command that fails says why, is not repeated, and can be asked for again."""
    errors: list[Exception] = []
    root = Supervisor("root", [Child("a", partial(BadStarts, errors))])
    rig = Rig(root)
    await rig.tree.start()
    errors.append(OSError("no"))
    assert isinstance(await failure(root.restart_child("a")), StartFailed)
    await rig.clock.advance(60)
    assert states(rig.tree) == {"a": State.FAILED}
    await root.restart_child("a")
    assert states(rig.tree) == {"a": State.RUNNING}
    await rig.stop()


async def test_only_a_stopped_child_is_removed() -> None:
    """A child that runs or waits to be restarted is refused; one that is stopped is gone, and its name is free."""
    rig, root = await started()
    with pytest.raises(ChildBusy, match="root/a is running; stop it before removing it"):
        await root.remove_child("a")
    crash(child_of(root, "b").ref, ValueError())
    await settle()
    with pytest.raises(ChildBusy, match="root/b is backoff"):
        await root.remove_child("b")
    await root.stop_child("b")
    await root.remove_child("b")
    assert list(states(rig.tree)) == ["a", "c"]
    await rig.clock.advance(10)
    await root.add_child(Child("b", Puppet))
    assert list(states(rig.tree)) == ["a", "c", "b"]
    await rig.stop()


@pytest.mark.parametrize("command", [Supervisor.stop_child, Supervisor.restart_child, Supervisor.remove_child])
async def test_commands_need_a_child_and_a_running_supervisor(command: Callable[[Supervisor, str], Work]) -> None:
    """An unknown name is UnknownChild; a supervisor that does not run, or stops, says so instead of hanging."""
    root = Supervisor("root", [Child("a", Slow)])
    rig = Rig(root)
    assert isinstance(await failure(command(root, "a")), NotRunning)
    await rig.tree.start()
    error = await failure(command(root, "x"))
    assert isinstance(error, UnknownChild)
    assert "root has no child named 'x'" in str(error)
    rig.tree.stop()
    await settle()
    assert isinstance(await failure(command(root, "a")), NotRunning)
    await rig.ended()
    assert isinstance(await failure(command(root, "a")), NotRunning)


async def test_a_stop_ends_a_command_under_way() -> None:
    """Whoever waits for a command when the supervisor is stopped is told at once."""
    rig, root = await started()
    rig.mark()
    error = await during(failure(root.add_child(Child("d", partial(Gated, asyncio.Event())))), partial(stopping, rig))
    assert isinstance(error, NotRunning)
    assert rig.when(ChildExited, path="root") == [0]


async def stopping(rig: Rig) -> None:
    """Stop the tree."""
    await rig.stop()


async def test_a_child_that_asks_its_own_supervisor_in_setup_is_told_at_once() -> None:
    """The supervisor waits for that setup, directly or not, so the ask raises AskCycle instead of hanging."""
    errors: list[Exception | None] = []
    root: Supervisor

    def command() -> Work:
        return root.stop_child("other")

    nested = Supervisor("nested", [Child("deep", partial(Meddler, command, errors))])
    root = Supervisor("root", [Child("other", Puppet), Child("a", partial(Meddler, command, errors)), nested])
    rig = Rig(root)
    await rig.tree.start()
    assert [type(error) for error in errors] == [AskCycle, AskCycle]
    assert "root/nested/deep -> root -> root/nested -> root/nested/deep" in str(errors[1])
    await rig.stop()


async def test_a_child_that_asks_its_supervisor_in_teardown_is_told_at_once() -> None:
    """A supervisor that stops a child cannot obey it meanwhile, and does not keep it waiting."""
    errors: list[Exception | None] = []
    root: Supervisor

    def command() -> Work:
        return root.restart_child("a")

    root = Supervisor("root", [Child("a", partial(Meddler, command, errors, "teardown"))])
    rig = Rig(root)
    await rig.tree.start()
    rig.mark()
    await root.stop_child("a")
    assert rig.when(ChildExited) == [0]
    await root.restart_child("a")
    await rig.stop()
    assert [type(error) for error in errors] == [AskCycle, NotRunning]


async def test_a_path_leads_to_supervisor_and_child() -> None:
    """`parent_of` finds who holds a node, so that a command can be given by path, and refuses what is not there."""
    nested = Supervisor("nested", [Child("deep", Puppet)])
    root = Supervisor("root", [nested, Child("a", Puppet)])
    rig = Rig(root)
    await rig.tree.start()
    assert rig.tree.parent_of("root/nested/deep") == (nested, "deep")
    assert rig.tree.parent_of("root/nested") == (root, "nested")
    for path in ("root", "nested", "root/x", "root/nested/x", "root/x/deep", "other/a", "root/a/a", "", "root/"):
        with pytest.raises(UnknownChild):
            rig.tree.parent_of(path)
    child = nested.children[0]
    assert isinstance(child, Child)
    child.ref.tell_nowait(Stop())
    await rig.stop()
