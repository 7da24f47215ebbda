"""What a process answers over its local socket, and what it survives there."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.errors import SupervisorError
from supervisor.process.exit_code import ExitCode
from tests.process.program import HASTY, LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.conftest import Start
    from tests.process.program import Program


@contextlib.contextmanager
def connected(program: Program) -> Iterator[socket.socket]:
    """Connect to a program, without a word."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(LIMIT)
        channel.connect(str(program.socket))
        yield channel


def answer_on(channel: socket.socket) -> dict[str, Any]:
    """Read an answer to its end; empty when there is none."""
    parts = []
    while part := channel.recv(65536):
        parts.append(part)
    answer: dict[str, Any] = json.loads(b"".join(parts) or "{}")
    return answer


def raw(program: Program, request: bytes) -> dict[str, Any]:
    """Send these bytes, and return the answer."""
    with connected(program) as channel:
        channel.sendall(request)
        return answer_on(channel)


# --- what it answers --------------------------------------------------------------------------------


def test_it_describes_the_process_and_its_tree(start: Start) -> None:
    """The answer to `tree` has the process and all nodes in start order; stacks come on request."""
    program = start("idle").ready()
    told = program.ask("tree")
    assert (told["name"], told["pid"], told["state"]) == ("supervisor", program.pid, "running")
    root = told["tree"]
    assert [node["path"] for node in root["children"]] == ["root/one", "root/two", "root/three"]
    assert {node["state"] for node in root["children"]} == {"running"}
    assert root["children"][0]["stack"] is None
    assert "await" in program.ask("tree", stacks=True)["tree"]["children"][0]["stack"]


def test_it_answers_while_the_tree_starts_and_drains(start: Start) -> None:
    """The socket works before the tree runs and while it goes down, and shows where it stands."""
    program = start("slow_both_ways")
    program.out.expect("patient starting")
    assert program.nodes()["root/patient"]["state"] == "starting"
    program.say("go on")
    program.ready().send(signal.SIGTERM)
    program.out.expect("patient going down")
    assert program.ask("tree")["state"] == "draining"
    node = program.nodes()["root/patient"]
    assert (node["state"], node["stage"]) == ("stopping", "draining")
    program.say("go on")
    assert program.wait() == ExitCode.CLEAN


def test_a_child_can_be_stopped_restarted_and_removed(start: Start) -> None:
    """A stopped child stays stopped, a restart makes a new life, and what is stopped can be removed."""
    program = start("idle").ready()
    program.ask("stop", path="root/two")
    assert program.nodes()["root/two"]["state"] == "stopped"
    program.ask("restart", path="root/two")
    program.ask("restart", path="root/three")
    lives = {path: (node["state"], node["generation"]) for path, node in program.nodes().items()}
    assert lives["root/two"] == lives["root/three"] == ("running", 2)
    with pytest.raises(SupervisorError, match="root/two is running; stop it before removing it"):
        program.ask("remove", path="root/two")
    program.ask("stop", path="root/two")
    program.ask("remove", path="root/two")
    assert sorted(program.nodes()) == ["root", "root/one", "root/three"]
    assert program.out.lines[3:] == ["two down", "two up", "three down", "three up", "two down"]
    assert program.end() == ExitCode.CLEAN


def test_commands_are_logged(start: Start) -> None:
    """Whoever reads the log sees that a person has changed the tree."""
    program = start("idle").ready()
    program.ask("stop", path="root/two")
    assert program.event("stop of root/two asked for over the local socket")["level"] == "warning"


def test_a_command_that_ends_the_process_is_answered(start: Start) -> None:
    """Who asks for the restart of a child that cannot be stopped learns why the process goes down."""
    program = start("stubborn").ready()
    with pytest.raises(SupervisorError, match="root/stubborn survived every stage of its stop"):
        program.ask("restart", path="root/stubborn")


def test_a_command_is_carried_out_once(start: Start) -> None:
    """Bytes that follow a request do not repeat it."""
    program = start("patient").ready()
    with connected(program) as channel:
        channel.sendall(b'{"op": "restart", "path": "root/patient"}\n')
        program.out.expect("patient going down")
        channel.sendall(b"\n")
        program.ask("tree")
        program.say("go on")
        assert answer_on(channel) == {"ok": True}
    assert len(program.events("restart of root/patient asked for over the local socket")) == 1


def test_a_caller_may_close_its_own_end(start: Start) -> None:
    """A caller that has said all it wants and half-closes the connection, as `nc` does, still gets its answer."""
    program = start("patient").ready()
    with connected(program) as channel:
        channel.sendall(b'{"op": "stop", "path": "root/patient"}\n')
        channel.shutdown(socket.SHUT_WR)
        program.out.expect("patient going down")
        program.say("go on")
        assert answer_on(channel) == {"ok": True}


# --- what it survives -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (b'{"op": "stop", "path": "root/four"}', "there is no 'root/four' below 'root'"),
        (b'{"op": "stop", "path": "root"}', "there is no 'root' below 'root'"),
        (b'{"op": "stop", "path": "root/one/two"}', "there is no 'root/one/two' below 'root'"),
        (b'{"op": "stop", "path": ""}', "there is no '' below 'root'"),
        (b'{"op": "stop", "path": 1}', "unknown request"),
        (b'{"op": "stop"}', "unknown request"),
        (b'{"op": "dance"}', "unknown request"),
        (b"{}", "unknown request"),
        (b"[1]", "must be a JSON object"),
        (b"GET / HTTP/1.1\r", "is not JSON"),
        (b"\xff\x00\xfe", "is not JSON"),
        (b"", "is not JSON"),
        (b"[" * 30_000, "is not JSON"),
    ],
)
def test_a_wrong_request_is_answered_with_the_reason(living: Program, request_: bytes, told: str) -> None:
    """A request that cannot be met gets an error that says so, and the next one is answered as ever."""
    assert told in raw(living, request_ + b"\n")["error"]
    assert len(living.nodes()) == 4


def test_a_request_without_end_is_refused(living: Program) -> None:
    """A caller that sends more than 64 KiB without a line break gets an error and is cut off."""
    with connected(living) as channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            channel.sendall(b"x" * 4096)
    assert raw(living, b"x" * 70_000)["error"] == "the request is longer than 65536 bytes"
    assert len(living.nodes()) == 4


def test_a_request_may_come_in_pieces(living: Program) -> None:
    """A slow caller is answered in the end, and holds up nobody meanwhile."""
    with connected(living) as slow:
        for piece in (b'{"op"', b': "tree"', b"}"):
            slow.sendall(piece)
            assert len(living.nodes()) == 4
        slow.sendall(b"\n")
        assert answer_on(slow)["ok"]["pid"] == living.pid


def test_a_caller_that_leaves_is_forgotten(living: Program) -> None:
    """Callers that hang up before, within or after their request leave no trace."""
    for request in (b"", b'{"op"', b'{"op": "tree"}\n') * 20:
        with connected(living) as channel:
            channel.sendall(request)
    assert len(living.nodes()) == 4


def test_a_caller_that_says_nothing_is_dropped(start: Start) -> None:
    """A connection without a request is closed when the patience is over, and does not hold up the end."""
    program = start.python(*HASTY, "tests.process.apps:idle", str(start.folder)).ready()
    with connected(program) as silent:
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""
        with connected(program):
            assert program.end() == ExitCode.CLEAN


@pytest.fixture(scope="module")
def living(start_module: Start) -> Program:
    """Give the tests that only ask a program to share."""
    return start_module("idle", limit=60.0).ready()
