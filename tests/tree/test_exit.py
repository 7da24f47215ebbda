"""How an actor asks the whole process to exit: with SystemExit or KeyboardInterrupt, from wherever it is."""

from __future__ import annotations

from functools import partial

import pytest

from supervisor import Actor, Child, Restart, Strategy, Supervisor
from supervisor.testing import settle
from supervisor.tree.events import ChildExited, ChildRestarting, ExitRequested
from supervisor.tree.outcome import ExitAsked
from supervisor.tree.slot import State
from tests.tree.actors import Diarist, Puppet, Rig, states, task_names


class Leaver(Actor[object]):
    """Raises the error in the named method."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where = where
        self.error = error

    def _maybe(self, where: str) -> None:
        if self.where == where:
            raise self.error

    async def setup(self) -> None:
        self._maybe("setup")

    async def run(self) -> None:
        self._maybe("run")
        await super().run()

    async def handle(self, message: object) -> None:
        self._maybe("handle")
        if self.where == "teardown":
            raise ValueError("a crash, whose teardown then asks for an exit")

    async def teardown(self) -> None:
        self._maybe("teardown")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        pytest.param(SystemExit(3), 3, None, id="SystemExit(3)"),
        pytest.param(SystemExit(), 0, None, id="SystemExit()"),
        pytest.param(SystemExit("no paper"), 1, "no paper", id="SystemExit(text)"),
        pytest.param(KeyboardInterrupt(), 130, None, id="KeyboardInterrupt"),
        pytest.param(BaseExceptionGroup("two", [OSError(), SystemExit(4)]), 4, None, id="in a group"),
        pytest.param(
            BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [KeyboardInterrupt()])]),
            130,
            None,
            id="deep in a group",
        ),
    ],
)
@pytest.mark.parametrize("where", ["setup", "run", "handle", "teardown"])
async def test_an_actor_can_ask_the_process_to_exit(
    error: BaseException, code: int, message: str | None, where: str
) -> None:
    """The exit is asked for once, with the code; the actor is not restarted and no other is touched."""
    asked: list[int] = []
    child = Child("a", partial(Leaver, where, error))
    rig = Rig(Supervisor("root", [Child("first", Puppet), child, Child("last", Puppet)], Strategy.ONE_FOR_ALL))
    rig.runtime.on_exit_request = asked.append
    await rig.tree.start()
    if where in {"handle", "teardown"}:
        child.ref.tell_nowait("leave")
    await rig.clock.advance(60)
    assert asked == [code]
    assert rig.log.of(ExitRequested) == [ExitRequested("root/a", code, message)]
    assert [event.outcome for event in rig.log.of(ChildExited)] == [ExitAsked(code, message)]
    assert rig.log.of(ChildRestarting) == []
    assert states(rig.tree) == {"first": State.RUNNING, "a": State.STOPPED, "last": State.RUNNING}
    await rig.stop()


@pytest.mark.parametrize("restart", list(Restart))
async def test_the_policy_does_not_matter(restart: Restart) -> None:
    """Whatever its restart policy, an actor that asked for the exit is not restarted."""
    child = Child("a", partial(Leaver, "handle", SystemExit(2)), restart=restart)
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    child.ref.tell_nowait("leave")
    await rig.clock.advance(60)
    assert states(rig.tree).get("a") is (None if restart is Restart.TEMPORARY else State.STOPPED)
    await rig.stop()


async def test_whoever_runs_the_tree_can_stop_it_from_the_request() -> None:
    """Stopping the tree in answer to the request ends all of it in order, leaving nothing."""
    diary: list[str] = []
    child = Child("a", partial(Leaver, "run", SystemExit(3)))
    nested = Supervisor("nested", [Child("b", partial(Diarist, diary)), child])
    rig = Rig(Supervisor("root", [Child("first", partial(Diarist, diary)), nested]))
    rig.runtime.on_exit_request = lambda _: rig.tree.stop()
    await rig.tree.start()
    await settle()
    assert rig.tree.outcome is not None
    assert diary[-2:] == ["teardown b", "teardown first"]
    assert (task_names(), rig.clock.pending) == ([], 0)


async def test_an_exit_asked_for_in_a_first_setup_does_not_wait_for_the_start() -> None:
    """When a setup asks for the exit, a stop in answer to it ends the start."""
    diary: list[str] = []
    child = Child("a", partial(Leaver, "setup", SystemExit(3)))
    rig = Rig(
        Supervisor("root", [Child("first", partial(Diarist, diary)), child, Child("never", partial(Diarist, diary))])
    )
    rig.runtime.on_exit_request = lambda _: rig.tree.stop()
    await rig.tree.start()
    await rig.tree.wait()
    assert diary == ["setup first", "teardown first"]
    assert [event.code for event in rig.log.of(ExitRequested)] == [3]
