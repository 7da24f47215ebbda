"""The command `workers` with a database: a line for each that lives, all about one, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.command_line import CommandLine, command_line
from tests.store.sql_session import add_worker, expire, lose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ABOUT = """
    UPDATE supervisor.workers
    SET metadata = '{"python": "3.11", "platform": "Linux", "arch": "arm64", "queues": ["mail", "print"]}',
        singleton = 'shop', running = 3, heartbeats = 12, longest_gap_s = 11.5
    WHERE id = $1
"""


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


async def test_nobody_is_there(line: CommandLine) -> None:
    """Without a worker the command says how to start one, and the answer for programs is empty."""
    assert "no workers" in (await line("workers")).out
    answer = (await line("workers", "--json")).json
    assert (answer["workers"], answer["alerts"]) == ([], [])


async def test_the_living_are_listed(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that live have a line within 80 columns, the latest first; those that are over only when asked for."""
    monkeypatch.setenv("COLUMNS", "80")
    ids = [await add_worker(line.opened) for _ in range(3)]
    await line.opened.execute(ABOUT, ids[1])
    await lose(line.opened, ids[0])
    lines = (await line("workers")).out.splitlines()
    assert lines[0].split()[:5] == ["id", "host", "pid", "status", "singleton"]
    assert [words.split()[0] for words in lines[1:]] == [str(ids[2]), str(ids[1])]
    assert "shop" in lines[2]
    assert max(map(len, lines)) <= 80
    every = (await line("workers", "list", "--all", "--json")).json["workers"]
    assert [(row["id"], row["status"]) for row in every] == [(ids[2], "RUNNING"), (ids[1], "RUNNING"), (ids[0], "LOST")]
    assert every[2]["silent_s"] is None
    assert (every[1]["running"], every[1]["longest_gap_s"], every[1]["singleton"]) == (3, 11.5, "shop")


async def test_what_is_wrong_is_said(line: CommandLine) -> None:
    """A silent worker and versions that differ are warnings below the list, and the odd version is marked."""
    ids = [await add_worker(line.opened) for _ in range(4)]
    await line.opened.execute("UPDATE supervisor.workers SET version = 'v2' WHERE id = $1", ids[0])
    await expire(line.opened, ids[3])
    answer = await line("workers")
    assert answer.code == 0
    assert "v2 !" in answer.out
    assert f"warning: stale worker: worker {ids[3]}, pid 1 on host, has been silent for" in answer.out
    assert "warning: version drift: v1: 2, v2: 1" in answer.out
    found = (await line("workers", "--json")).json
    assert {alert["alert"] for alert in found["alerts"]} == {"stale_worker", "version_drift"}
    assert [row["id"] for row in found["workers"] if row["drifts"]] == [ids[0]]


async def test_all_about_one(line: CommandLine) -> None:
    """The page of a worker says what it is, what it runs, when it was heard of, and when it would be rescued."""
    worker = await add_worker(line.opened, lease=20.0)
    await line.opened.execute(ABOUT, worker)
    await line.opened.execute("SELECT supervisor.take_singletons($1, '{rank-tracker}')", worker)
    shown = (await line("workers", "show", str(worker))).out
    for text in ("RUNNING", "pid 1 on host", "3.11", "arm64", "mail, print", "shop", "rank-tracker", "12 heartbeats"):
        assert text in shown
    assert "3 jobs as of its last heartbeat" in shown
    assert "its jobs run elsewhere in" in shown
    document = (await line("workers", "show", str(worker), "--json")).json
    assert (document["id"], document["singletons"]) == (worker, ["rank-tracker"])
    assert document["metadata"]["queues"] == ["mail", "print"]
    await lose(line.opened, worker)
    assert "its jobs run elsewhere" not in (await line("workers", "show", str(worker))).out


async def test_one_that_is_not_there(line: CommandLine) -> None:
    """A worker that nobody knows is a line on stderr and exit code 1."""
    answer = await line("workers", "show", "99")
    assert (answer.code, answer.out) == (1, "")
    assert "there is no worker 99" in answer.err
