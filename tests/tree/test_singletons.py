"""Children that run only while somebody outside the tree lets them: singletons, whoever decides about them."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from supervisor import Actor, Backoff, Child, DynamicSupervisor, Restart, Stop, Strategy, Supervisor
from supervisor.errors import ConfigError, MailboxClosed, StartFailed, SupervisorError
from supervisor.testing import Slow, Stubborn, crash, running, settle
from supervisor.tree.events import ChildRestarting
from supervisor.tree.outcome import Stage
from supervisor.tree.singletons import Singletons, Term
from supervisor.tree.slot import State
from tests.tree.actors import Diarist, Puppet, Rig, states

EXACT = Backoff(jitter=0)


def rigged(root: Supervisor) -> tuple[Rig, Singletons]:
    """Make a tree, and what its singletons are granted by."""
    rig, singletons = Rig(root), Singletons()
    rig.runtime.singletons = singletons
    return rig, singletons


def term(name: str, fence: int = 1) -> Term:
    """Make a term that is never in doubt."""
    return Term(name, fence, lambda: True)


def single(diary: list[str], name: str = "b", restart: Restart | None = None) -> Child[object]:
    """Make a child that is the singleton `s`."""
    return Child(name, partial(Diarist, diary), singleton="s", restart=restart, backoff=EXACT)


async def test_it_waits_for_its_grant() -> None:
    """A singleton is started when it is granted and not with its siblings; until then it takes no messages."""
    diary: list[str] = []
    child = single(diary)
    rig, singletons = rigged(Supervisor("root", [child, Child("c", partial(Diarist, diary))]))
    await rig.tree.start()
    assert states(rig.tree) == {"b": State.STANDBY, "c": State.RUNNING}
    with pytest.raises(MailboxClosed):
        await child.ref.tell("anybody?")
    assert singletons.wanted == {"s"}
    singletons.grant(term("s"))
    await settle()
    assert diary == ["setup c", "setup b"]
    await child.ref.tell("there you are")
    await rig.stop()
    assert singletons.wanted == set()


async def test_a_revoked_one_stands_by() -> None:
    """When its grant is revoked it is stopped, which is no failure, and it runs again at the next grant."""
    diary: list[str] = []
    rig, singletons = rigged(Supervisor("root", [single(diary)]))
    await rig.tree.start()
    for fence in (1, 2):
        assert singletons.is_quiet("s")
        singletons.grant(term("s", fence))
        await settle()
        assert not singletons.is_quiet("s")
        singletons.revoke("s", Stage.DRAINING)
        await settle()
        assert states(rig.tree) == {"b": State.STANDBY}
    assert diary == ["setup b", "teardown b"] * 2
    assert rig.log.of(ChildRestarting) == []
    await rig.stop()


async def test_a_crash_is_restarted_while_it_is_granted() -> None:
    """A singleton that crashes is restarted as any child; not, if its grant was revoked during the backoff."""
    diary: list[str] = []
    child = single(diary)
    rig, singletons = rigged(Supervisor("root", [child]))
    await rig.tree.start()
    singletons.grant(term("s"))
    await settle()
    crash(child.ref, ValueError())
    await rig.clock.advance(1)
    assert states(rig.tree) == {"b": State.RUNNING}
    crash(child.ref, ValueError())
    await settle()
    singletons.revoke("s", Stage.CANCELLING)
    await rig.clock.advance(1)
    assert states(rig.tree) == {"b": State.STANDBY}
    singletons.grant(term("s", 2))
    await rig.clock.advance(0)
    assert states(rig.tree) == {"b": State.RUNNING}
    await rig.stop()


async def test_a_grant_during_the_backoff_waits_for_it() -> None:
    """A grant that is renewed while the singleton waits out a backoff starts it once, after the backoff."""
    diary: list[str] = []
    child = single(diary)
    rig, singletons = rigged(Supervisor("root", [child]))
    await rig.tree.start()
    singletons.grant(term("s"))
    await settle()
    crash(child.ref, ValueError())
    await settle()
    singletons.revoke("s", Stage.CANCELLING)
    singletons.grant(term("s", 2))
    await settle()
    assert states(rig.tree) == {"b": State.BACKOFF}
    await rig.clock.advance(1)
    assert diary == ["setup b", "teardown b", "setup b"]
    await rig.stop()


async def test_a_sibling_takes_it_along() -> None:
    """A restart of the whole group starts a singleton with the others if it is granted, and lets it stand by if not."""
    diary: list[str] = []
    first = Child("a", partial(Diarist, diary), backoff=EXACT)
    rig, singletons = rigged(Supervisor("root", [first, single(diary)], Strategy.ONE_FOR_ALL))
    await rig.tree.start()
    crash(first.ref, ValueError())
    await rig.clock.advance(1)
    assert states(rig.tree) == {"a": State.RUNNING, "b": State.STANDBY}
    singletons.grant(term("s"))
    await settle()
    diary.clear()
    crash(first.ref, ValueError())
    await rig.clock.advance(1)
    assert diary == ["teardown a", "teardown b", "setup a", "setup b"]
    await rig.stop()


async def test_one_that_is_done_stays_done() -> None:
    """A transient singleton that has ended normally is not started by a later grant."""
    diary: list[str] = []
    child = single(diary, restart=Restart.TRANSIENT)
    rig, singletons = rigged(Supervisor("root", [child]))
    await rig.tree.start()
    singletons.grant(term("s"))
    await settle()
    crash(child.ref, Stop())
    await settle()
    singletons.revoke("s", Stage.DRAINING)
    singletons.grant(term("s", 2))
    await settle()
    assert diary == ["setup b", "teardown b"]
    assert states(rig.tree) == {"b": State.STOPPED}
    await rig.stop()


async def test_a_command_stops_it_here() -> None:
    """A singleton stopped by command is not wanted here any more; started by command it stands by for a grant."""
    diary: list[str] = []
    rig, singletons = rigged(Supervisor("root", [single(diary)]))
    await rig.tree.start()
    singletons.grant(term("s"))
    await settle()
    await rig.tree.root.stop_child("b")
    assert singletons.wanted == set()
    assert states(rig.tree) == {"b": State.STOPPED}
    singletons.revoke("s", Stage.DRAINING)
    await rig.tree.root.restart_child("b")
    assert states(rig.tree) == {"b": State.STANDBY}
    assert singletons.wanted == {"s"}
    await rig.tree.root.stop_child("b")
    await rig.tree.root.remove_child("b")
    await rig.stop()


async def test_a_dynamic_child_can_be_one() -> None:
    """A child started at run time waits for its grant too, and twins are refused."""
    diary: list[str] = []
    pool = DynamicSupervisor("pool")
    rig, singletons = rigged(Supervisor("root", [pool]))
    await rig.tree.start()
    await pool.start_child(single(diary))
    assert states(rig.tree)["b"] is State.STANDBY
    with pytest.raises(ConfigError, match="singleton = 's' is that of root/pool/b too"):
        await pool.start_child(single(diary, "c"))
    singletons.grant(term("s"))
    await settle()
    assert diary == ["setup b"]
    await pool.start_child(Child("d", Puppet))
    await rig.stop()


async def test_twins_are_refused() -> None:
    """Two children of one tree cannot be the same singleton."""
    rig, _ = rigged(Supervisor("root", [single([]), single([], "c")]))
    with pytest.raises(StartFailed, match="singleton = 's' is that of root/b too; give each its own"):
        await rig.tree.start()


async def test_nobody_to_decide() -> None:
    """A tree in which nobody grants singletons does not start one, and says why."""
    rig = Rig(Supervisor("root", [single([])]))
    with pytest.raises(StartFailed, match="needs a database that says who has the name"):
        await rig.tree.start()


@pytest.mark.parametrize("name", ["", "a b", ".a", "a:b", "x" * 65])
def test_a_name_that_cannot_be(name: str) -> None:
    """The name of a singleton is one that is easily written anywhere."""
    with pytest.raises(ConfigError, match=r"singleton = .*: must be 1 to 64"):
        Child("a", Puppet, singleton=name)


async def test_a_whole_subtree_can_be_one() -> None:
    """A supervisor stops its children in order when its grant is revoked, and at once when there is no time."""
    diary: list[str] = []
    below = Supervisor("below", [Child("a", partial(Diarist, diary)), Child("slow", Slow, stop_timeout=100.0)])
    below.singleton = "s"
    rig, singletons = rigged(Supervisor("root", [below]))
    await rig.tree.start()
    singletons.grant(term("s"))
    await settle()
    singletons.revoke("s", Stage.DRAINING)
    await settle()
    assert diary == ["setup a"]
    singletons.revoke("s", Stage.CANCELLING)
    await settle()
    assert diary == ["setup a", "teardown a"]
    assert singletons.is_quiet("s")
    assert states(rig.tree) == {"below": State.STANDBY}
    singletons.grant(term("s", 2))
    await settle()
    assert diary == ["setup a", "teardown a", "setup a"]
    await rig.stop()


async def test_what_cannot_be_stopped_is_not_quiet() -> None:
    """A singleton that survives every stage of its stop still counts as running, until the process has ended."""
    stubborn = Stubborn()
    child = Child("b", lambda: stubborn, singleton="s", stop_timeout=0, cancel_grace=0, backoff=EXACT)
    rig, singletons = rigged(Supervisor("root", [child]))
    await rig.tree.start()
    singletons.grant(term("s"))
    await settle()
    singletons.revoke("s", Stage.KILLING)
    await rig.clock.advance(1)
    assert not singletons.is_quiet("s")
    stubborn.release()
    await asyncio.wait([life.task for life in rig.runtime.abandoned])


class Reader(Actor[object]):
    """Keeps its term where the test can see it."""

    def __init__(self, terms: list[Term]) -> None:
        self.terms = terms

    async def setup(self) -> None:
        self.terms.append(self.term)


async def test_it_reads_its_term() -> None:
    """A singleton reads its fence, and whether it may go on: not when it is revoked, nor when it cannot be proved."""
    terms: list[Term] = []
    proved = True
    rig, singletons = rigged(Supervisor("root", [Child("b", partial(Reader, terms), singleton="s")]))
    await rig.tree.start()
    singletons.grant(Term("s", 7, lambda: proved))
    await settle()
    (held,) = terms
    assert (held.name, held.fence, held.is_held, held.is_in_doubt) == ("s", 7, True, False)
    proved = False
    assert (held.is_held, held.is_in_doubt) == (False, True)
    proved = True
    singletons.revoke("s", Stage.DRAINING)
    assert (held.is_held, held.is_in_doubt) == (False, False)
    await rig.stop()


async def test_others_have_no_term() -> None:
    """An actor that is no singleton is told so when it asks for its term."""
    with pytest.raises(StartFailed) as failed:
        async with running(Child("b", partial(Reader, []))):
            pass
    assert isinstance(failed.value.__cause__, SupervisorError)
    assert "no singleton" in str(failed.value.__cause__)


async def test_alone_it_runs_at_once() -> None:
    """In a test of one tree nobody else is there, so a singleton runs with its supervisor."""
    terms: list[Term] = []
    async with running(Child("b", partial(Reader, terms), singleton="s")):
        assert [(each.fence, each.is_held) for each in terms] == [(1, True)]
