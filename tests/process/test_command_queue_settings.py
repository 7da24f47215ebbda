"""The commands `queue set` and `queue slow` with a database: what they change, and what they list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.command_line import CommandLine, command_line
from tests.store.sql_session import add_worker, claim, enqueue, pairs_of

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


async def test_a_setting_is_changed_and_kept(line: CommandLine) -> None:
    """What is given is set, what is not stays, and `none` takes back, all of it in the audit log."""
    said = await line("queue", "set", "mail", "--max-depth", "10", "--escalate-after", "10m", "--reason", "too many")
    assert said.code == 0
    assert said.out.splitlines() == [
        "queue mail: it is so now",
        "  takes no more with 10 jobs waiting",
        "  a job that waits for 10m00s rises by 1, not above priority 0",
    ]
    again = await line("queue", "set", "mail", "--max-depth", "10", "--reason", "too many")
    assert "it is so already" in again.out
    tried = await line("queue", "set", "mail", "--max-depth", "none", "--dry-run", "--json")
    assert (tried.json["changed"], tried.json["after"]["max_depth"]) == (True, None)
    left = await line("queue", "set", "mail", "--escalate-by", "3", "--reason", "faster", "--json")
    assert left.json["before"] == {"max_depth": 10, "escalate_after_s": 600, "escalate_by": 1, "escalate_to": 0}
    assert left.json["after"] == {"max_depth": 10, "escalate_after_s": 600, "escalate_by": 3, "escalate_to": 0}
    log = await line.opened.fetch("SELECT action_type, reason FROM supervisor.system_audit_log ORDER BY id")
    assert [tuple(row) for row in log] == [("set_queue", "too many"), ("set_queue", "faster")]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--max-depth"),
        (("--max-depth", "0"), "'0' is no number of jobs"),
        (("--max-depth", "many"), "'many' is no number of jobs"),
        (("--escalate-after", "500ms"), "'500ms' is less than a second"),
        (("--escalate-after", "soon"), "'soon' is no duration"),
        (("--max-depth", "5"), "--reason"),
    ],
)
async def test_a_wrong_setting_is_named(line: CommandLine, words: tuple[str, ...], named: str) -> None:
    """What cannot be set is a mistake in the use, with the option, the value and the remedy."""
    said = await line("queue", "set", "mail", *words)
    assert said.code == ExitCode.USAGE
    assert named in said.err


async def test_slow_jobs_are_listed(line: CommandLine) -> None:
    """A run that a worker found slow is listed with how long it runs, and what is usual."""
    assert (await line("queue", "slow")).out == "no job runs for longer than usual\n"
    worker = await add_worker(line.opened)
    await enqueue(line.opened, 1)
    ((job, version),) = pairs_of(await claim(line.opened, worker))
    await line.opened.execute("SELECT supervisor.note_slow($1, $2, '{2.0}')", [job], [version])
    shown = (await line("queue", "slow")).out.splitlines()
    assert shown[0].split() == ["job", "kind", "queue", "worker", "running", "usual"]
    assert shown[1].split()[:4] == [str(job), "noop", "default", str(worker)]
    (found,) = (await line("queue", "slow", "--json")).json["jobs"]
    assert (found["id"], found["expected_s"]) == (job, 2.0)


async def test_health_tells_of_a_full_queue(line: CommandLine) -> None:
    """A queue with as many jobs waiting as it takes is critical."""
    await enqueue(line.opened, 3)
    await line("queue", "set", "default", "--max-depth", "3", "--reason", "small")
    await line.opened.fetchval("SELECT supervisor.survey('queues', 0)")
    said = await line("queue", "health")
    assert said.code == 2
    assert "queue default: takes no more: jobs waiting 3, at most 3" in said.out
