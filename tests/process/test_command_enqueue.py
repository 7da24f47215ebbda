"""The command `enqueue` with a database: one job, the wait for its end, and what it says on the way."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.command_line import CommandLine, command_line, line_with
from tests.store.sql_session import add_worker, claim, claim_one, complete, finish, hand_back

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


async def test_a_job_is_enqueued(line: CommandLine) -> None:
    """The id is all that is printed, and the job has what the options say."""
    answer = await line(
        *("enqueue", "noop", "--args", '{"x": [1, "ä"]}', "--queue", "slow", "--priority", "-5"),
        *("--tenant", "acme", "--max-attempts", "7"),
    )
    assert (answer.code, answer.err) == (0, "")
    row = await line.opened.fetchrow("SELECT * FROM supervisor.jobs WHERE id = $1", int(answer.out))
    assert row is not None
    assert (row["queue"], row["priority"], row["tenant"], row["max_attempts"]) == ("slow", -5, "acme", 7)
    assert row["args"] == '{"x": [1, "ä"]}'


@pytest.mark.parametrize("words", [("--delay", "2h"), ("--run-at", "2999-01-01T00:00Z")])
async def test_a_job_for_later(line: CommandLine, words: tuple[str, str]) -> None:
    """A job with a time in the future waits for it."""
    answer = await line("enqueue", "noop", *words)
    assert answer.code == 0
    soon = "SELECT run_at - clock_timestamp() > interval '119 m' FROM supervisor.jobs_waiting WHERE id = $1"
    assert await line.value(soon, int(answer.out)) is True


async def test_the_application_checks_the_arguments(line: CommandLine) -> None:
    """With the application its own kinds can be enqueued before any worker runs, and arguments are what it takes."""
    answer = await line("enqueue", "welcome", "--app", "shop:app", "--args", "7")
    assert answer.code == 0
    row = await line.opened.fetchrow("SELECT args, queue FROM supervisor.jobs WHERE id = $1", int(answer.out))
    assert row is not None
    assert (row["args"], row["queue"]) == ('{"user_id": 7}', "mail")


async def test_an_unknown_kind(line: CommandLine) -> None:
    """A kind that nobody ever offered is refused, with a guess at what was meant."""
    answer = await line("enqueue", "nop")
    assert answer.code == ExitCode.USAGE
    assert answer.err == "supervisor: kind 'nop': no worker has ever offered such jobs; did you mean 'noop'?\n"


async def test_a_key_is_kept(line: CommandLine) -> None:
    """A second job with the key of a live one is not enqueued, and the first one's id says so."""
    first = await line("enqueue", "noop", "--key", "k", "--json")
    second = await line("enqueue", "noop", "--key", "k", "--json")
    assert first.json == {"id": first.json["id"], "created": True}
    assert second.json == {"id": first.json["id"], "created": False}
    assert "nothing was enqueued" in (await line("enqueue", "noop", "--key", "k")).err


async def test_a_database_without_our_schema(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the schema is missing, the command that makes it is named: exit code 78."""
    monkeypatch.setenv("SUPERVISOR_SCHEMA", "other")
    for words in (("enqueue", "noop"), ("jobs", "list"), ("queue", "stats")):
        answer = await line(*words)
        assert answer.code == ExitCode.CONFIG
        assert "remedy: python -m supervisor migrate up" in answer.err


# --- waiting ----------------------------------------------------------------------------------------


async def test_waiting_for_a_completed_job(line: CommandLine) -> None:
    """`--wait` ends with the job: exit code 0 once it has completed."""
    worker = await add_worker(line.opened)
    with line.process("enqueue", "noop", "--wait") as running:
        job = int(await asyncio.to_thread(running.stdout.readline))  # type: ignore[union-attr]
        await line_with(running.stderr, "pending")
        assert await complete(line.opened, [await claim_one(line.opened, worker)]) == {job}
        await line_with(running.stderr, f"job {job}: completed after")
        assert await asyncio.to_thread(running.wait) == 0


async def test_waiting_for_a_failed_job(line: CommandLine) -> None:
    """On the way each failed attempt is told, and at the end the last error: exit code 1."""
    worker = await add_worker(line.opened)
    with line.process("enqueue", "noop", "--wait", "--json") as running:
        await line_with(running.stderr, "pending")
        await hand_back(line.opened, [await claim_one(line.opened, worker)], "retry", 0.0, "OSError: slow")
        await line_with(running.stderr, "attempt 1 of 3 failed: OSError: slow")
        pair = await claim_one(line.opened, worker)
        await line_with(running.stderr, "running")
        await finish(line.opened, [pair], "failed", "ValueError: no such user")
        await line_with(running.stderr, "failed after")
        assert await asyncio.to_thread(running.wait) == 1
        assert '"last_error": "ValueError: no such user"' in running.stdout.read()  # type: ignore[union-attr]


async def test_the_wait_has_a_limit(line: CommandLine) -> None:
    """Beyond `--within` the job goes on alone: exit code 1, and where to look."""
    answer = await line("enqueue", "noop", "--wait", "--within", "100ms")
    assert answer.code == 1
    assert f"job {int(answer.out)} is pending after 0.1s; it goes on without this command" in answer.err
    assert await line.statuses() == {int(answer.out): "pending"}


async def test_a_blocked_job_is_told(line: CommandLine) -> None:
    """A job that waits for a person says so, since nothing else will happen to it."""
    worker = await add_worker(line.opened)
    with line.process("enqueue", "noop", "--wait") as running:
        await line_with(running.stderr, "pending")
        (row,) = await claim(line.opened, worker, 1)
        await hand_back(line.opened, [(row["id"], row["lock_version"])], "blocked", 0.0, "step charge is unresolved")
        await line_with(running.stderr, "waits for a person: step charge is unresolved")


async def test_ctrl_c_ends_the_wait(line: CommandLine) -> None:
    """Ctrl-C ends the command at once, as a shell expects, and leaves the job alone."""
    with line.process("enqueue", "noop", "--wait") as running:
        await line_with(running.stderr, "pending")
        running.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(running.wait) == 128 + signal.SIGINT
        assert running.stderr.read() == "supervisor: interrupted\n"  # type: ignore[union-attr]
    assert list((await line.statuses()).values()) == ["pending"]
