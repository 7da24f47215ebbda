"""Each example runs as a program and does what it says at its top."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.source import ROOT
from tests.store.postgres import open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.conftest import Start


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder, which a PostgreSQL can use that does not run as root."""
    folder = open_folder()
    yield folder
    remove_folder(folder)


def test_hello_greets(start: Start) -> None:
    """`hello` greets the world, and goes on running until it is told to stop."""
    program = start("examples.hello:app").ready()
    program.out.expect("hello, world")
    assert program.end() == ExitCode.CLEAN


def test_periodic_ticks(start: Start) -> None:
    """`periodic` ticks at once and then again and again."""
    program = start("examples.periodic:app")
    program.out.expect("tick 3")
    assert program.end(signal.SIGINT) == ExitCode.CLEAN
    assert program.out.lines[:3] == ["tick 1", "tick 2", "tick 3"]


def test_the_shop_sells(start: Start) -> None:
    """`tree` starts a shop in which customers buy and a reporter reports, and which closes in order."""
    program = start("examples.tree:app").ready()
    program.out.expect("taken so far: ")
    shop = "root/shop"
    crowd = [f"{shop}/customers/customer-{number}" for number in (1, 2, 3)]
    assert sorted(program.nodes()) == sorted(
        ["root", shop, f"{shop}/ledger", f"{shop}/till", f"{shop}/customers", *crowd, f"{shop}/reporter"]
    )
    assert program.end(signal.SIGINT) == ExitCode.CLEAN
    ended = [row["path"] for row in program.events("child_exited", generation=1)]
    assert ended.index(f"{shop}/reporter") < ended.index(f"{shop}/customers") < ended.index(f"{shop}/till")
    assert ended[-3:] == [f"{shop}/ledger", shop, "root"]


def test_a_jammed_till_does_not_close_the_books(start: Start) -> None:
    """When the till crashes it restarts with those that depend on it, and the ledger lives on with what was taken."""
    program = start("jammed_shop")
    program.event("child_exited", path="root/shop/till", outcome="crashed: RuntimeError: the till jammed on purpose")
    program.event("child_started", path="root/shop/reporter", generation=2)
    lives = {path: node["generation"] for path, node in program.nodes().items()}
    assert lives["root/shop/ledger"] == lives["root/shop"] == lives["root"] == 1
    assert lives["root/shop/till"] == lives["root/shop/customers"] == lives["root/shop/reporter"] == 2
    assert {row["path"] for row in program.events("child_restarting")} == {"root/shop/till"}
    assert program.end() == ExitCode.CLEAN
    assert len(program.events("child_exited", path="root/shop/ledger")) == 1


def test_stubborn_meets_its_deadline(start: Start) -> None:
    """`stubborn` would rather not stop: it it is given up, and its neighbour stops in peace."""
    program = start("examples.stubborn:app").ready()
    assert program.end(signal.SIGINT) == ExitCode.ABANDONED
    assert program.out.lines == ["stubborn: I would rather not", "polite: goodbye"]
    stages = [row["stage"] for row in program.events("stop_stage", path="root/stubborn")]
    assert stages == ["draining", "cancelling", "killing", "abandoned"]


@pytest.mark.timeout(120)
def test_a_new_user_is_welcomed(start: Start, data: Path) -> None:
    """`welcome` does a job that another process has enqueued, in a database of its own."""
    environ = {"SUPERVISOR_DATA_DIR": str(data), "SUPERVISOR_APP": "examples.welcome:app"}
    program = start("examples.welcome:app", environ=environ, limit=90.0).ready()
    args = ("--args", '{"user": "Ada"}', "--wait")
    told = start.python("-m", "supervisor", "enqueue", "send_welcome", *args, environ=environ, limit=60.0)
    assert told.wait() == ExitCode.CLEAN, told.err.lines
    program.out.expect("welcome, Ada")
    assert program.end() == ExitCode.CLEAN


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "examples").glob("*.py")))
def test_every_example_is_tried(name: str) -> None:
    """No example goes without a test of its own here."""
    text = (ROOT / "tests/process/test_examples.py").read_text(encoding="utf-8")
    assert f'"examples.{name}:app"' in text
