"""The commands of the switches beside running workers: who confirms, what stops at once, and what starts again."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

from supervisor.cli import main
from tests.process.engine import QUICK, engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from tests.process.conftest import Start

    Run = Callable[..., Awaitable[Any]]

ALONE = ("--no-quarantine",)
"""One worker for each process."""


def commands(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a way to run commands on a database, each of which answers with a document."""
    monkeypatch.setenv("DATABASE_URL", dsn)

    async def run(*words: str, code: int = 0) -> Any:  # noqa: ANN401 - any JSON
        capsys.readouterr()
        assert await asyncio.to_thread(main, [*words, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


async def test_workers_confirm_and_stop_what_runs(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both workers confirm the kill switch, the running job is let go on at no cost, and runs again when it is over."""
    async with engine(start) as jobs:
        run = commands(jobs.dsn, monkeypatch, capsys)
        programs = [jobs.run("--name", name, *ALONE) for name in ("east", "west")]
        (held,) = await jobs.enqueue("hold")
        await jobs.until("SELECT FROM supervisor.jobs WHERE id = $1 AND claimed_by IS NOT NULL", held)
        plan = await run("kill-switch", "activate", "--dry-run")
        assert [job["id"] for job in plan["running"]] == [held]

        found = await run("kill-switch", "activate", "--cancel-running", "--reason", "a test", "--wait", "20s")
        assert (found["changed"], found["confirmation"]["confirmed"], found["confirmation"]["of"]) == (True, 2, 2)
        row = await jobs.live(held)
        assert (row["claimed_by"], row["attempts"], row["interruptions"]) == (None, 0, 1)
        assert row["last_error"].endswith("kill_switch: a test")

        (waits,) = await jobs.enqueue("note")
        assert (await run("jobs", "show", str(waits)))["status"] == "pending"
        found = await run("kill-switch", "deactivate", "--reason", "a test", "--wait", "20s")
        assert found["confirmation"]["missing"] == []
        assert (await jobs.ended(waits))["status"] == "completed"
        assert (await jobs.ended(held))["status"] == "completed"
        assert [entry["action_type"] for entry in await run("audit")] == [
            "deactivate_kill_switch",
            "activate_kill_switch",
        ]
        assert (await run("audit", "verify"))["whole"]
        for program in programs:
            assert program.end() == 0


async def test_a_worker_that_stands_still_is_named(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command comes back with exit code 1 and the name of the worker; nothing starts, and it confirms later."""
    async with engine(start) as jobs:
        run = commands(jobs.dsn, monkeypatch, capsys)
        program = jobs.run(*ALONE)
        worker = await jobs.worker(program)
        program.process.send_signal(signal.SIGSTOP)
        try:
            found = await run("kind", "pause", "note", "--reason", "a test", "--wait", "200ms", code=1)
        finally:
            program.process.send_signal(signal.SIGCONT)
        assert [one["worker"] for one in found["confirmation"]["missing"]] == [worker["id"]]
        seen = "SELECT FROM supervisor.workers WHERE id = $1 AND confirmed_epoch >= $2"
        await jobs.until(seen, worker["id"], found["epoch"])

        (job,) = await jobs.enqueue("note")
        (other,) = await jobs.enqueue("work", seconds=0.0)
        assert (await jobs.ended(other))["status"] == "completed"
        assert (await run("jobs", "show", str(job)))["status"] == "pending"
        await run("kind", "resume", "note", "--reason", "a test", "--wait", "20s")
        assert (await jobs.ended(job))["status"] == "completed"
        assert program.end() == 0


async def test_it_turns_back_by_itself(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A switch with an end is turned back by a worker, and the audit log says so."""
    async with engine(start) as jobs:
        run = commands(jobs.dsn, monkeypatch, capsys)
        program = jobs.run(*QUICK, *ALONE)
        (job,) = await jobs.enqueue("note")
        await jobs.ended(job)
        await run("mode", "set", "safe_mode", "--reason", "a test", "--expires", "1s", "--wait", "20s")
        (job,) = await jobs.enqueue("note")
        assert (await jobs.ended(job))["status"] == "completed"
        assert (await run("mode"))["mode"] == "normal"
        assert [(entry["actor"], entry["after"]["value"]) for entry in (await run("audit"))[:1]] == [
            ("expiry", "normal")
        ]
        assert program.end() == 0
