"""The command `enqueue --file` with a database: every line once, whatever happens to the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from supervisor.cli import enqueue_file
from supervisor.process.exit_code import ExitCode
from tests.process.command_line import CommandLine, command_line, line_with
from tests.store.sql_session import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

FILE: Final = ("enqueue", "welcome", "--app", "shop:app", "--file")
LINES: Final = 4 * enqueue_file.CHUNK
HELD: Final = 4242  # the number of an advisory lock

STOPS: Final = """
CREATE FUNCTION public.stop_there() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4242);
    RETURN NEW;
END
$$;
"""
"""Holds up whoever moves a file on, until the lock is free."""

BEFORE_THE_JOBS: Final = (
    "CREATE TRIGGER stop BEFORE UPDATE ON supervisor.enqueue_files FOR EACH ROW WHEN (NEW.position > 5000) "
    "EXECUTE FUNCTION public.stop_there()"
)
IN_THE_COMMIT: Final = (
    "CREATE CONSTRAINT TRIGGER stop AFTER UPDATE ON supervisor.enqueue_files DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW WHEN (NEW.position > 5000) EXECUTE FUNCTION public.stop_there()"
)


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


def ids(line: CommandLine, count: int = LINES) -> str:
    """Write a file with so many ids, and a comment; return its path."""
    path = line.folder / "ids"
    path.write_text("# ids\n" + "".join(f"{number}\n" for number in range(count)), encoding="utf-8")
    return str(path)


async def user_ids(line: CommandLine) -> list[int]:
    """Return the ids of all jobs in the database, in the order in which they will run."""
    rows = await line.opened.fetch(
        "SELECT (args->>'user_id')::int AS id FROM supervisor.job_queue JOIN supervisor.jobs ON jobs.id = job_id "
        "ORDER BY jobs.priority, jobs.run_at, jobs.id"
    )
    return [row["id"] for row in rows]


async def test_a_file_is_enqueued(line: CommandLine) -> None:
    """Ids and JSON are mixed, comments skipped, the order kept, and the totals told."""
    path = line.folder / "ids"
    path.write_text('# all of them\n3\n{"user_id": 1}\n\n2\n', encoding="utf-8")
    answer = await line(*FILE, str(path))
    assert answer.code == 0
    assert answer.err == "enqueued 3 of 3\n"
    said = answer.out.splitlines()
    assert said[0] == "read 5 lines: 3 jobs, 2 blank or comments"
    assert re.fullmatch(r"enqueued 3 in \d\.\ds \(\d+ per second\)", said[1])
    assert await user_ids(line) == [3, 1, 2]


async def test_a_file_for_later(line: CommandLine) -> None:
    """Options hold for every job of the file, a delay too."""
    answer = await line(*FILE, ids(line, 3), "--delay", "1h", "--tenant", "acme", "--priority", "9", "--json")
    assert (answer.json["jobs"], answer.json["enqueued"]) == (3, 3)
    rows = await line.opened.fetch("SELECT tenant, priority, reason FROM supervisor.jobs_waiting")
    assert [tuple(row) for row in rows] == [("acme", 9, "future")] * 3


async def test_without_the_application_lines_are_json(line: CommandLine) -> None:
    """Where nobody says what the arguments are, JSON objects are taken as they are, if the kind is known."""
    path = line.folder / "lines"
    path.write_text('{"x": 1}\n["y"]\n', encoding="utf-8")
    assert (await line("enqueue", "noop", "--file", str(path))).code == 0
    args = await line.opened.fetch("SELECT args FROM supervisor.jobs ORDER BY id")
    assert [row["args"] for row in args] == ['{"x": 1}', '["y"]']
    answer = await line("enqueue", "noops", "--file", str(path))
    assert answer.code == ExitCode.USAGE
    assert "did you mean 'noop'?" in answer.err


async def test_a_finished_file_is_not_enqueued_twice(line: CommandLine) -> None:
    """The same file again changes nothing, and says since when it is there; `--again` means it."""
    path = ids(line, 3)
    assert (await line(*FILE, path)).code == 0
    again = await line(*FILE, path)
    assert again.code == 0
    assert re.search(r"already enqueued at \d{4}-\d\d-\d\d .* UTC; --again enqueues it once more\n", again.out)
    assert await user_ids(line) == [0, 1, 2]
    assert (await line(*FILE, path, "--again")).code == 0
    assert sorted(await user_ids(line)) == [0, 0, 1, 1, 2, 2]
    # For whom it is, and into which queue, makes it another file.
    for words in (("--tenant", "acme"), ("--queue", "other"), ("--tenant", "other")):
        assert "enqueued 3 in" in (await line(*FILE, path, *words)).out


async def test_standard_input(line: CommandLine) -> None:
    """Lines may come through a pipe, which is read once and checked as a whole before the first is enqueued."""
    with line.process(*FILE, "-") as running:
        out, err = await asyncio.to_thread(running.communicate, "1\nx\n")
        assert running.returncode == ExitCode.USAGE
        assert "standard input has 1 mistake; nothing was enqueued:\n  line 2: args.user_id" in err
    assert await user_ids(line) == []
    with line.process(*FILE, "-", "--json") as running:
        out, err = await asyncio.to_thread(running.communicate, "1\n2\n")
        assert running.returncode == 0, err
        assert '"enqueued": 2' in out
    assert await user_ids(line) == [1, 2]


@contextlib.asynccontextmanager
async def held_up(line: CommandLine, trigger: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Hold up every enqueue of a file in its second chunk, until the function is called that this gives."""
    async with session(line.dsn) as holder:
        await holder.execute("SELECT pg_advisory_lock($1)", HELD)
        await line.opened.execute(STOPS)
        await line.opened.execute(trigger)
        yield lambda: holder.execute("SELECT pg_advisory_unlock($1)", HELD)
    await until_alone(line)
    await line.opened.execute("DROP FUNCTION public.stop_there CASCADE")


async def until_held_up(line: CommandLine, count: int = 1) -> None:
    """Wait until so many processes wait for the lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
    async with asyncio.timeout(20):
        while await line.value(waiting, HELD) < count:
            await line.value("SELECT pg_sleep(0.01)")


async def until_alone(line: CommandLine) -> None:
    """Wait until the server has noticed the end of every process but us."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'supervisor command'"
    )
    async with asyncio.timeout(20):
        while await line.value(others):
            await line.value("SELECT pg_sleep(0.01)")


@pytest.mark.parametrize("trigger", [BEFORE_THE_JOBS, IN_THE_COMMIT], ids=["before the jobs", "in the commit"])
async def test_a_killed_enqueue_goes_on(line: CommandLine, trigger: str) -> None:
    """After kill -9 in the middle of a chunk the same command finishes the file: no line is lost, none doubled."""
    path = ids(line)
    async with held_up(line, trigger):
        with line.process(*FILE, path) as running:
            await line_with(running.stderr, "enqueued 5000 of 20000")
            await until_held_up(line)
            running.kill()
            await asyncio.to_thread(running.wait)
    before = len(await user_ids(line))
    assert before in {5000, 10_000}  # the second only if its commit was faster than the news of the end
    answer = await line(*FILE, path, "--json")
    assert answer.code == 0
    assert (answer.json["enqueued_before"], answer.json["enqueued"]) == (before, LINES - before)
    assert await user_ids(line) == list(range(LINES))


async def test_an_outage_in_the_middle(line: CommandLine) -> None:
    """When the database goes away the command ends with 69 and the remedy, which is to run it again."""
    path = ids(line)
    async with held_up(line, BEFORE_THE_JOBS):
        with line.process(*FILE, path) as running:
            await until_held_up(line)
            await line.opened.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'supervisor command'"
            )
            _, err = await asyncio.to_thread(running.communicate)
            assert running.returncode == ExitCode.NO_START
            assert "remedy: run the same command again; it goes on where this one ended" in err
    assert (await line(*FILE, path)).code == 0
    assert await user_ids(line) == list(range(LINES))


async def test_two_processes_share_a_file(line: CommandLine) -> None:
    """The same file enqueued twice at the same time is enqueued once."""
    path = ids(line)
    async with held_up(line, BEFORE_THE_JOBS) as release:
        with line.process(*FILE, path) as first, line.process(*FILE, path) as second:
            await until_held_up(line)
            await release()
            for running in (first, second):
                _, err = await asyncio.to_thread(running.communicate)
                assert running.returncode == 0, err
    assert sorted(await user_ids(line)) == list(range(LINES))


async def test_a_file_that_changes_is_noticed(line: CommandLine) -> None:
    """What was checked is what is enqueued: a file that grows meanwhile stops the command."""
    path = ids(line)
    async with held_up(line, BEFORE_THE_JOBS) as release:
        with line.process(*FILE, path) as running:
            await until_held_up(line)
            with open(path, "a", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - a few bytes
                file.write("99999\n")
            await release()
            _, err = await asyncio.to_thread(running.communicate)
            assert running.returncode == ExitCode.USAGE
            assert "the file was changed meanwhile; 10000 jobs of what it was before are enqueued" in err


async def test_a_terminal_shows_a_bar(line: CommandLine) -> None:
    """On a terminal the progress is a bar, and what stays are the totals."""
    path = ids(line)
    ours, theirs = pty.openpty()
    try:
        with line.process(*FILE, path, stderr=theirs, stdout=subprocess.PIPE) as running:
            out = await asyncio.to_thread(running.communicate)
            assert running.returncode == 0
            assert "enqueued 20000 in" in out[0]
        os.set_blocking(ours, False)
        drawn = os.read(ours, 1_000_000).decode()
        assert "enqueuing" in drawn
        assert "20000/20000" in drawn
    finally:
        os.close(ours)
        os.close(theirs)
