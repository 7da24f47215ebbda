"""The parts of the server that need neither a socket nor a database."""

from __future__ import annotations

import asyncio
import sys

import pytest

from supervisor.web import rates
from supervisor.web.hosts import is_loopback, same_origin
from supervisor.web.live import STILL, Live, LiveBoard
from supervisor.web.rates import Rate
from supervisor.web.refusal import Refusal
from supervisor.web.shared_read import SharedRead
from supervisor.web.strict_json import read_json


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


# --- rates ----------------------------------------------------------------------------------------------


def test_a_burst_and_then_the_rate() -> None:
    """A key may ask as often as the burst says at once, and then once in each gap; others are not touched by it."""
    clock = Clock()
    rate = Rate(2.0, 3, clock)
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
    assert rate.take("b") == 0
    clock.at += 0.5
    assert rate.wait("a") == 0
    assert [rate.take("a") == 0 for _ in range(2)] == [True, False]
    clock.at += 100
    assert [rate.take("a") == 0 for _ in range(4)] == [True, True, True, False]


def test_a_rate_of_zero_is_no_limit() -> None:
    """With 0 nobody ever waits, and nothing is kept."""
    rate = Rate(0, 1, Clock())
    assert [rate.take("a") for _ in range(100)] == [0] * 100


def test_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can make the memory of a rate grow without end."""
    monkeypatch.setattr(rates, "MOST_KEYS", 10)
    rate = Rate(1.0, 1, Clock())
    for number in range(100):
        rate.take(str(number))
    assert rate.take("99") > 0
    assert rate.take("0") == 0


# --- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - a case
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("ops", False),
    ],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    """Only what nobody else can reach counts as loopback."""
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        ("http://localhost:8420", True),
        ("https://LOCALHOST:8420", True),
        ("http://localhost", False),
        ("http://localhost:8421", False),
        ("null", False),
        ("file://localhost:8420", False),
        ("http://localhost:8420.evil.example", False),
        ("", False),
    ],
)
def test_the_same_origin(origin: str, same: bool) -> None:
    """An origin is ours only with the very host and port that were asked."""
    assert same_origin(origin, "localhost:8420") == same


# --- bodies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("13.0", 13), ("1.5", 1.5), ("1e2", 100), ('"\\ud83d\\ude00"', "😀"), ("[]", []), (' {"a": null} ', {"a": None})],
)
def test_what_json_means(text: str, value: object) -> None:
    """JSON is read as its specification says; a number that is whole is an integer."""
    found = read_json(text.encode())
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["", "{'a': 1}", "[1,]", "01", "-Infinity", '"\t"', "[1] [2]", "\ufeff{}"])
def test_what_is_not_json(text: str) -> None:
    """What is nearly JSON is refused."""
    with pytest.raises(Refusal):
        read_json(text.encode())


def test_many_equal_keys_are_found_quickly() -> None:
    """A body of very many keys costs as much as it is long, also when the last one is there twice."""
    keys = ",".join(f'"k{number}":1' for number in range(100_000))
    with pytest.raises(Refusal, match="a key twice") as refused:
        read_json(f'{{{keys},"k99999":1}}'.encode())
    assert refused.value.field == "k99999"


def test_depth_has_a_limit_below_that_of_python() -> None:
    """What is nested deeper than Python could read is refused like the rest."""
    with pytest.raises(Refusal, match="deep"):
        read_json(b"[" * (10 * sys.getrecursionlimit()))


# --- sharing --------------------------------------------------------------------------------------------


async def test_many_who_ask_share_one_question() -> None:
    """Those who ask while one question is under way share the next, which begins after they asked."""
    asked, free = 0, asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        mine = asked
        await free.wait()
        return mine

    shared = SharedRead(ask)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shared.get())
        while not asked:  # noqa: ASYNC110 - a test may look again and again
            await asyncio.sleep(0)
        others = [group.create_task(shared.get()) for _ in range(50)]
        await asyncio.sleep(0)
        free.set()
    assert (first.result(), {other.result() for other in others}, asked) == (1, {2}, 2)
    assert await shared.get(max_age=60) == 2


async def test_a_question_that_fails() -> None:
    """Who puts a question that fails hears of it, and the next one puts it anew."""
    answers: list[str | OSError] = ["up", OSError("down")]

    async def ask() -> str:
        answer = answers.pop()
        if isinstance(answer, OSError):
            raise answer
        return answer

    shared = SharedRead(ask)
    with pytest.raises(OSError, match="down"):
        await shared.get()
    assert await shared.get() == "up"


# --- what the main loop says ----------------------------------------------------------------------------


def test_the_board() -> None:
    """A loop that does not turn is blocked after a while, and a lease that ended is not held."""
    clock = Clock()
    board = LiveBoard(clock, name="a", version="1", started_at=0.0)
    board.shown = Live(worker=1, lease_until=clock.at + 10)
    assert (board.is_blocked, board.holds_lease) == (False, True)
    clock.at += STILL + 0.1
    assert board.is_blocked
    board.turn()
    assert board.still_for == 0
    clock.at += 10
    assert not board.holds_lease
