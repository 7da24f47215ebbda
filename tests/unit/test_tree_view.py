"""The drawn tree tells each node's state at a glance and fits the terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import msgspec
import orjson
import pytest
from rich.cells import cell_len
from rich.console import Console

from supervisor.cli.tree_view import Process, TreeView, duration
from supervisor.process.dump import as_json, encode
from supervisor.testing import running
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from typing import TypeAlias

    Fields: TypeAlias = dict[str, object]


def node(name: str, kind: str = "Actor", *children: Fields, **fields: object) -> Fields:
    """Describe a node as a process does."""
    standing = {"state": "running", "age": 3720.0, "capacity": 100}
    return {"path": name, "name": name, "kind": kind, "children": list(children)} | standing | fields


def draw(tree: Fields, width: int = 120, *, colour: bool = False, ascii_only: bool = False) -> str:
    """Draw this tree of a process that is an hour old."""
    answer: Fields = {"name": "shop", "pid": 42, "state": "running", "started_at": 1000.0, "tree": tree}
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if ascii_only else "utf-8")
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(file=stream, width=width, highlight=False, force_terminal=colour, color_system=system)
    console.print(TreeView(msgspec.convert(answer, Process), now=4600.0))
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode()


def line_of(name: str, text: str) -> str:
    """Return the line that names this node."""
    (line,) = [line for line in text.splitlines() if f" {name} " in f" {line} "]
    return line


SHOP = node(
    "root",
    "rest_for_one",
    node("ledger", "Ledger", last_progress=3.0, busy=False),
    node(
        "front",
        "one_for_one",
        node(
            "till",
            "Till",
            last_progress=0.25,
            busy=True,
            mailbox=3,
            restarts=2,
            last_outcome="crashed: ValueError: jam",
        ),
        node("door", "Door", state="stopped", age=None, last_outcome="stopped while draining"),
    ),
    node("sweeper", "Sweeper", state="stopping", stage="cancelling", restarts=1),
)


def test_the_process_comes_first() -> None:
    """The first line names the process, its state and its age."""
    assert draw(SHOP).splitlines()[0] == "shop  pid 42  running  up 1h00m"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("root", "root rest_for_one running up 1h02m"),
        ("ledger", "├─ ledger Ledger running up 1h02m idle 3.0s"),
        ("till", "│ ├─ till Till running up 1h02m busy 0.2s mail 3/100 2 restarts"),
        ("door", "│ └─ door Door stopped"),
        ("sweeper", "└─ sweeper Sweeper cancelling up 1h02m 1 restart"),
    ],
)
def test_a_node_is_one_line_of_what_matters(name: str, line: str) -> None:
    """Name, kind or strategy, state or stage, age, progress, waiting messages and restarts stand in one line."""
    assert " ".join(line_of(name, draw(SHOP)).split()) == line


def test_the_columns_are_aligned() -> None:
    """The states stand below each other, however deep the nodes."""
    lines = draw(SHOP).splitlines()[1:]
    assert {line.index("running") for line in lines if "running" in line} == {lines[0].index("running")}


def test_a_crash_is_told_below_its_node() -> None:
    """The outcome of the last incarnation is shown when it was a crash, and only then."""
    lines = draw(SHOP).splitlines()
    below = lines[lines.index(line_of("till", draw(SHOP))) + 1]
    assert below == "│  │     crashed: ValueError: jam"
    assert "stopped while draining" not in draw(SHOP)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_line_fits_the_terminal(width: int) -> None:
    """No line is wider than the terminal, with long names, long kinds, long errors and full mailboxes."""
    child = node(
        "a_rather_long_name_for_an_actor",
        "AnActorWithALongName",
        last_progress=77.0,
        busy=True,
        mailbox=1000,
        capacity=1000,
        restarts=12,
        last_outcome="crashed: ConnectionResetError: " + "x" * 200,
    )
    lines = draw(node("root", "one_for_one", child, SHOP), width).splitlines()
    assert max(cell_len(line) for line in lines) <= width


def test_a_narrow_terminal_keeps_the_names() -> None:
    """At 80 columns kinds give way before names, and the marks that do not fit go below their node."""
    name, kind = "the_one_that_rings_up_all_sales", "AnActorWithALongName"
    tree = node("root", "one_for_one", node(name, kind, last_progress=99.0, mailbox=100, restarts=12))
    wide, narrow = draw(tree, 120), draw(tree, 80)
    assert "mail 100/100  12 restarts" in line_of(name, wide)
    assert kind in wide
    lines = narrow.splitlines()
    row = lines.index(line_of(name, narrow))
    assert kind not in narrow
    assert lines[row + 1].strip() == "mail 100/100  12 restarts"


def test_stacks_are_shown_whole() -> None:
    """A stack stands below its node, line by line."""
    tree = node("root", "one_for_one", node("till", stack='  File "till.py", line 3\n    await jam()\n'))
    lines = draw(tree).splitlines()
    assert [line.rstrip() for line in lines[-2:]] == ['        File "till.py", line 3', "          await jam()"]


def test_control_characters_are_shown() -> None:
    """The text of an error cannot take over the terminal of who looks at it."""
    assert "bad \\x1b[2J" in draw(node("root", last_outcome="crashed: bad \033[2J"))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"state": "running"}, "\033[32m"),
        ({"state": "backoff"}, "\033[33m"),
        ({"state": "abandoned"}, "\033[1;31m"),
        ({"state": "stopping", "stage": "killing"}, "\033[1;31m"),
    ],
)
def test_states_have_colours(fields: Fields, code: str) -> None:
    """Green is well, yellow is on its way, red needs somebody."""
    state = fields.get("stage", fields["state"])
    assert f"{code}{state}" in draw(node("root") | fields, colour=True)


@pytest.mark.parametrize(("waiting", "code"), [(1, "\033[33m"), (80, "\033[1;31m")])
def test_a_full_mailbox_is_red(waiting: int, code: str) -> None:
    """Waiting messages are yellow, and red when the mailbox is nearly full."""
    assert f"{code}mail {waiting}/100" in draw(node("root", mailbox=waiting), colour=True)


def test_a_terminal_without_unicode_has_plain_guides() -> None:
    """Where the lines of the tree cannot be written, ASCII stands for them."""
    text = draw(SHOP, ascii_only=True)
    assert text.isascii()
    assert "+- ledger" in text
    assert "`- sweeper" in text


async def test_a_real_tree_can_be_drawn() -> None:
    """What a process answers, by way of JSON, is what the view reads."""
    tree = Supervisor("root", [Child("till", Actor[None]), Supervisor("back", [Child("ledger", Actor[None])])])
    async with running(tree) as live:
        snapshot = orjson.loads(encode(as_json(live.snapshot(stacks=True))))
    text = draw(snapshot)
    assert "till" in text
    assert "ledger" in text


def test_a_field_of_a_later_version_does_no_harm() -> None:
    """A process of another version is shown as far as its answer is understood."""
    assert "till" in draw(node("till", mood="sunny"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10, "10s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (90000, "1d1h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    """Ages are as exact as their reader needs."""
    assert duration(seconds) == text
