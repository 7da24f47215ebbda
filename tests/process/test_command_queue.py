"""The command `queue` with a database: the numbers, and the judgement with its exit code."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from supervisor.cli.database_session import DatabaseSession
from supervisor.cli.queue_watch import view
from supervisor.config import Config
from supervisor.process.exit_code import ExitCode
from supervisor.store.migrate import up
from tests.process.command_line import CommandLine, command_line
from tests.store.sql_session import add_worker, claim, complete, enqueue, expire, finish, pairs_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


async def test_the_numbers_of_a_queue(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every queue has a line with what waits, runs and ended, several a sum, within 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    opened, worker = line.opened, await add_worker(line.opened)
    await enqueue(opened, 10)
    pairs = pairs_of(await claim(opened, worker, 5))
    await complete(opened, pairs[:2])
    await finish(opened, pairs[2:3], "failed", "x")
    await line("enqueue", "noop", "--delay", "1h", "--queue", "a-queue-whose-name-is-far-too-long-to-be-shown-whole")
    lines = (await line("queue", "stats")).out.splitlines()
    assert lines[0].split()[:5] == ["queue", "waiting", "active", "delayed", "retry"]
    assert [words.split()[1:4] for words in lines[1:]] == [["0", "0", "1"], ["5", "2", "0"], ["5", "2", "1"]]
    assert lines[2].split()[-2:] == ["2", "1"]
    assert max(map(len, lines)) <= 80
    answer = (await line("queue", "stats", "--json")).json
    assert answer["at"].endswith("Z")
    row = next(row for row in answer["queues"] if row["queue"] == "default")
    assert (row["waiting"], row["active"], row["completed_1h"], row["failed_1h"]) == (5, 2, 2, 1)
    assert row["oldest_waiting_s"] > 0


async def test_the_numbers_are_those_that_were_measured(line: CommandLine) -> None:
    """What was measured last is shown with its age, and counted anew with `--fresh`, or if it is old."""
    opened, worker = line.opened, await add_worker(line.opened)
    await enqueue(opened, 3)
    await opened.fetchval("SELECT supervisor.survey('queues', 0)")
    await opened.execute("UPDATE supervisor.queue_figures SET sampled = 0.25")
    await enqueue(opened, 4)
    table = (await line("queue", "stats")).out.splitlines()
    assert (table[1].split()[1], len(table)) == ("3", 3)
    assert re.fullmatch(r"measured \d+(\.\d)?s ago, told from 25\.0% of the jobs", table[2])
    answer = (await line("queue", "stats", "--json")).json
    assert (answer["queues"][0]["waiting"], answer["sampled"]) == (3, 0.25)
    assert 0 <= answer["age_s"] < 120
    said = (await line("queue", "health")).out
    assert re.search(r"3 jobs waiting, 0 active \(measured \d+(\.\d)?s ago\), 1 live worker$", said)

    async def is_counted(*words: str) -> None:
        answer = (await line("queue", "stats", "--json", *words)).json
        assert (answer["queues"][0]["waiting"], answer["age_s"], answer["sampled"]) == (7, None, 1)
        assert len((await line("queue", "stats", *words)).out.splitlines()) == 2
        assert "7 jobs waiting, 0 active, 1 live worker" in (await line("queue", "health", *words)).out

    await is_counted("--fresh")
    await opened.execute("UPDATE supervisor.surveys SET measured_at = now() - interval '121 s' WHERE part = 'queues'")
    await is_counted()
    await opened.fetchval("SELECT supervisor.survey('queues', 0)")
    await enqueue(opened, 1)
    await expire(opened, worker)
    assert "8 jobs waiting, 0 active, 0 live workers" in (await line("queue", "health")).out


@pytest.mark.parametrize("words", [("--watch",), ("--watch", "0.1"), ("--watch", "--json")])
async def test_watching_needs_a_terminal(line: CommandLine, words: tuple[str, ...]) -> None:
    """A pipe gets no screen that is drawn again and again."""
    answer = await line("queue", "stats", *words)
    assert answer.code == ExitCode.USAGE
    assert ("--json" if "--json" in words else "needs a terminal") in answer.err


async def test_watching(line: CommandLine) -> None:
    """On a terminal the table is drawn anew until Ctrl-C, over a new connection if the old one is gone."""
    await enqueue(line.opened, 3)
    ours, theirs = pty.openpty()
    drawn = ""

    async def until(text: str) -> None:
        nonlocal drawn
        while text not in drawn:
            drawn += (await asyncio.to_thread(os.read, ours, 65536)).decode(errors="replace")
        drawn = drawn.partition(text)[2]

    try:
        with line.process("queue", "stats", "--watch", "50ms", stdout=theirs) as running:
            async with asyncio.timeout(20):
                await until("default")
                await enqueue(line.opened, 777)
                await until("780")
                await line.opened.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'supervisor command'"
                )
                await enqueue(line.opened, 777)
                await until("1557")
            running.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(running.wait) == 0
    finally:
        os.close(ours)
        os.close(theirs)


async def test_an_outage_while_watching(line: CommandLine) -> None:
    """While the database is away the screen says so, and afterwards it shows the numbers again, with their age."""
    console = Console(width=80)
    session = await DatabaseSession.connect(line.dsn, Config(), "database_url")
    await session.close()
    session.url = f"postgresql://someone:secret@/x?host={line.folder}"
    shown = (await view(session, console)).plain
    assert shown.endswith("trying again")
    assert "secret" not in shown
    session.url = line.dsn
    assert "default" in (await view(session, console)).plain
    await line.opened.fetchval("SELECT supervisor.survey('queues', 0)")
    assert "ago" in (await view(session, console)).plain.splitlines()[-1]
    assert "ago" not in (await view(session, console, fresh=True)).plain
    await session.close()


async def test_health_has_an_exit_code(line: CommandLine) -> None:
    """A script can ask whether all is well: 0 healthy, 1 warning, 2 critical."""
    opened, worker = line.opened, await add_worker(line.opened)
    answer = await line("queue", "health")
    assert (answer.code, answer.out) == (0, "healthy: 0 jobs waiting, 0 active, 1 live worker\n")

    await enqueue(opened, 20)
    answer = await line("queue", "health", "--warn-depth", "10")
    assert answer.code == 1
    assert answer.out.splitlines()[1:] == [
        "warning: queue default: jobs ready to run: 20",
        "  advice: start more workers, raise their concurrency, or enqueue more slowly",
    ]

    await claim(opened, worker, 5)
    await expire(opened, worker)
    answer = await line("queue", "health", "--json")
    assert (answer.code, answer.json["health"], answer.json["live_workers"]) == (2, "critical", 0)
    found = {finding["check"]: finding for finding in answer.json["findings"]}
    assert set(found) == {"workers", "leases"}
    assert found["workers"]["problem"] == "no live worker takes from it; jobs ready to run: 15"
    assert "recover-expired-locks" in found["leases"]["advice"]

    await line("jobs", "recover-expired-locks")
    answer = await line("queue", "health", "--json")
    assert {finding["check"] for finding in answer.json["findings"]} == {"workers", "suspects"}


async def test_health_knows_the_switches_and_the_queues_of_workers(line: CommandLine) -> None:
    """What is switched off is named as the reason, and a worker of other queues helps nobody."""
    opened, worker = line.opened, await add_worker(line.opened)
    await enqueue(opened, 1)
    await opened.execute("""UPDATE supervisor.workers SET metadata = '{"queues": ["other"]}' WHERE id = $1""", worker)
    await opened.execute("UPDATE supervisor.control SET killed = true, off_queues = '{default}'")
    answer = await line("queue", "health", "--json")
    assert answer.code == 2
    assert [(finding["level"], finding["check"]) for finding in answer.json["findings"]] == [
        ("critical", "workers"),
        ("warning", "switches"),
        ("warning", "switches"),
    ]


async def test_another_schema(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command works in a schema of another name, and sees nothing of the usual one."""
    await enqueue(line.opened, 1)
    await up(line.dsn, schema="other")
    monkeypatch.setenv("SUPERVISOR_SCHEMA", "other")
    (line.folder / "ids").write_text("2\n3\n", encoding="utf-8")
    for words in (
        ("enqueue", "welcome", "--app", "shop:app", "--args", "1"),
        ("enqueue", "welcome", "--app", "shop:app", "--file", "ids"),
        ("jobs", "list", "--since", "1h"),
        ("jobs", "show", "1"),
        ("jobs", "retry", "--failed"),
        ("jobs", "cancel", "1"),
        ("jobs", "retry", "1"),
        ("jobs", "recover-expired-locks"),
        ("queue", "stats"),
    ):
        answer = await line(*words)
        assert (answer.code, words) == (0, words), answer.err
    assert (await line("jobs", "resolve", "1", "charge", "--again")).code == 1
    answer = await line("queue", "health", "--json")
    assert (answer.code, answer.json["queues"][0]["waiting"]) == (2, 3)
    assert await line.statuses() == {1: "pending"}
