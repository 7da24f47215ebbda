"""When `teardown` runs, how long it may take, and what its own failure does to the outcome."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from supervisor import Child, Restart, Stop, Supervisor
from supervisor.errors import TeardownTimeout
from supervisor.testing import Shielded, Slow
from supervisor.tree.events import ChildAbandoned, ChildExited
from supervisor.tree.outcome import Crashed, Normal, Outcome, Shutdown, Stage
from tests.tree.actors import Diarist, Puppet, Rig, Undying, outlived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from supervisor import Actor


class TidySlow(Slow):
    """Obeys only a cancel, and tells of its teardown, which needs a few turns of the loop."""

    def __init__(self, diary: list[str]) -> None:
        self.diary = diary

    async def teardown(self) -> None:
        await asyncio.sleep(0)
        self.diary.append("teardown a")


class TidyShielded(Shielded):
    """Has to be killed, so its teardown must not run."""

    def __init__(self, diary: list[str]) -> None:
        self.diary = diary

    async def teardown(self) -> None:
        self.diary.append("teardown a")


class Leaving(Puppet):
    """Returns from `run` when it is sent "leave"."""

    async def run(self) -> None:
        async for message in self.inbox:
            if message == "leave":
                return
            await self.handle(message)


class Endless(Leaving):
    """Waits in its teardown for ever, but obeys a cancel."""

    async def teardown(self) -> None:
        await anyio.sleep_forever()


class BadTeardown(Leaving):
    """Fails in its teardown."""

    async def teardown(self) -> None:
        raise OSError("teardown")


class Resourceful(Diarist):
    """Enters two context managers, then does as it is told: `fail` in setup, in its teardown, or not at all."""

    def __init__(self, diary: list[str], fail: str = "") -> None:
        super().__init__(diary)
        self.fail = fail

    @asynccontextmanager
    async def _resource(self, name: str) -> AsyncIterator[str]:
        self.diary.append(f"open {name}")
        try:
            yield name
        finally:
            await asyncio.sleep(0)
            self.diary.append(f"close {name}")

    async def setup(self) -> None:
        assert await self.enter(self._resource("one")) == "one"
        await self.enter(self._resource("two"))
        if self.fail == "setup":
            raise OSError

    async def teardown(self) -> None:
        await super().teardown()
        if self.fail == "teardown":
            raise OSError
        if self.fail == "endless":
            await anyio.sleep_forever()


async def ending(child: Child[object], message: object) -> tuple[Rig, Outcome]:
    """Run a child, send it `message` or stop it if there is none, and wait for its end."""
    rig = Rig(Supervisor("root", [child]))
    await rig.tree.start()
    rig.mark()
    if message is None:
        rig.tree.stop()
    else:
        child.ref.tell_nowait(message)
    await rig.clock.advance(30)
    outcome = rig.log.of(ChildExited, name=child.name)[0].outcome
    return rig, outcome


def temporary(factory: Callable[[], Actor[object]]) -> Child[object]:
    """Make a child that is not restarted."""
    return Child("a", factory, restart=Restart.TEMPORARY)


@pytest.mark.parametrize(
    ("factory", "message", "written"),
    [
        pytest.param(Diarist, Stop(), True, id="after a normal end"),
        pytest.param(Diarist, ValueError(), True, id="after a crash"),
        pytest.param(Diarist, asyncio.CancelledError(), True, id="after a foreign cancel"),
        pytest.param(Diarist, SystemExit(1), True, id="after SystemExit"),
        pytest.param(Diarist, None, True, id="after a stop"),
        pytest.param(TidySlow, None, True, id="after a cancel"),
        pytest.param(TidyShielded, None, False, id="not after a kill"),
    ],
)
async def test_teardown_runs_whenever_there_is_time(
    factory: Callable[[list[str]], Actor[object]], message: object, written: bool
) -> None:
    """Teardown runs, to its end, after every end but a kill."""
    diary: list[str] = []
    rig, _ = await ending(temporary(partial(factory, diary)), message)
    assert diary.count("teardown a") == written
    await rig.stop()


@pytest.mark.parametrize(
    "message", ["leave", Stop(), ValueError("first"), None], ids=["return", "Stop", "crash", "stop"]
)
async def test_an_endless_teardown_is_cut_at_its_limit(message: object) -> None:
    """A teardown is cancelled after `teardown_timeout`; a crash stays that crash, any other end becomes one."""
    rig, outcome = await ending(temporary(Endless), message)
    assert isinstance(outcome, Crashed)
    assert outcome.error is message if isinstance(message, ValueError) else isinstance(outcome.error, TeardownTimeout)
    assert rig.when(ChildExited, name="a") == [2]
    await rig.stop()


async def test_the_teardown_after_a_cancel_has_its_own_limit() -> None:
    """A teardown that follows a cancel gets its whole limit, and is not cut by the grace of the cancel."""

    class SlowEndless(Slow):
        async def teardown(self) -> None:
            await anyio.sleep_forever()

    child = Child("a", SlowEndless, stop_timeout=1, cancel_grace=0.5, teardown_timeout=4)
    rig, outcome = await ending(child, None)
    assert isinstance(outcome, Crashed)
    assert isinstance(outcome.error, TeardownTimeout)
    assert rig.when(ChildExited, name="a") == [1 + 4]


@pytest.mark.parametrize(
    ("message", "expected"),
    [("leave", OSError), (Stop(), OSError), (None, OSError), (ValueError("first"), ValueError)],
    ids=["return", "Stop", "stop", "crash"],
)
async def test_a_failing_teardown_is_a_crash_but_hides_none(message: object, expected: type[Exception]) -> None:
    """An error in teardown is a crash; after a crash it is only a note on the first error."""
    rig, outcome = await ending(temporary(BadTeardown), message)
    assert isinstance(outcome, Crashed)
    assert type(outcome.error) is expected
    notes = getattr(outcome.error, "__notes__", [])
    assert notes == (["teardown failed too: OSError: teardown"] if expected is ValueError else [])
    await rig.stop()


@pytest.mark.parametrize("message", [Stop(), ValueError(), None], ids=["normal end", "crash", "stop"])
async def test_a_teardown_that_swallows_its_cancel_is_abandoned(message: Exception | None) -> None:
    """A teardown that cannot be cancelled is killed 0.2 s after its limit and abandoned 0.2 s later."""
    end = asyncio.Event()
    rig, outcome = await ending(temporary(lambda: Undying(end, "teardown")), message)
    assert outcome == Shutdown(Stage.ABANDONED)
    assert rig.when(ChildAbandoned, name="a") == [2.4]
    end.set()
    assert await outlived("root") == []
    await rig.stop()


@pytest.mark.parametrize(
    ("fail", "message", "expected"),
    [
        pytest.param("", Stop(), Normal, id="normal end"),
        pytest.param("", ValueError(), Crashed, id="crash"),
        pytest.param("", None, Shutdown, id="stop"),
        pytest.param("teardown", Stop(), Crashed, id="bad teardown"),
        pytest.param("endless", Stop(), Crashed, id="endless teardown"),
    ],
)
async def test_entered_resources_are_closed_after_teardown(
    fail: str, message: Exception | None, expected: type[Outcome]
) -> None:
    """What `enter` entered is left in reverse order right after teardown, also when teardown fails."""
    diary: list[str] = []
    rig, outcome = await ending(temporary(partial(Resourceful, diary, fail)), message)
    assert isinstance(outcome, expected)
    assert diary[:3] == ["open one", "open two", "teardown a"]
    if fail != "endless":
        assert diary[3:] == ["close two", "close one"]
    await rig.stop()


async def test_entered_resources_are_closed_after_a_failed_setup() -> None:
    """What a setup entered before it failed is closed, although its teardown does not run."""
    diary: list[str] = []
    good = Child("a", partial(Resourceful, diary))
    rig = Rig(root := Supervisor("root"))
    await rig.tree.start()
    with pytest.raises(Exception, match="failed to start"):
        await root.add_child(Child("a", partial(Resourceful, diary, "setup")))
    assert diary == ["open one", "open two", "close two", "close one"]
    await root.add_child(good)
    await rig.stop()
