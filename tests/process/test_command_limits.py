"""The command `limits` with a database: what it makes, changes and shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.command_line import CommandLine, command_line
from tests.store.sql_session import add_worker, enqueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WHY = ("--reason", "a test")
PAUSES = "when it is spent, what it is for is paused until the period turns"


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


@pytest.mark.parametrize(
    ("words", "sentence", "fields"),
    [
        (
            "--window 10/1h --per tenant --service scans",
            "never more than 10 in any hour, for each tenant, of service scans",
            {"form": "window", "amount": 10.0, "period_s": 3600.0, "by": ["tenant"], "service": "scans"},
        ),
        (
            "--rate 5/s --burst 10 --kind noop",
            "evenly 5/s, up to 10 at once, of kind noop",
            {"form": "rate", "amount": 5.0, "period_s": 1.0, "burst": 10, "kind": "noop"},
        ),
        (
            "--concurrency 3 --per args.host,kind --shadow",
            "3 at the same time, for each args.host and kind; in the shadow: it only counts",
            {"form": "concurrency", "amount": 3.0, "by": ["args.host", "kind"], "shadow": True},
        ),
        (
            "--quota 1000/day --zone Europe/Berlin --at enqueue --queue default",
            "1000 in each day (Europe/Berlin), of queue default; more are refused at the enqueue",
            {"form": "quota", "unit": "day", "zone": "Europe/Berlin", "place": "enqueue", "queue": "default"},
        ),
        (
            "--budget 49.5/month --tenant acme --on-spent pause --fallback open",
            f"49.5 to spend in each month, of tenant acme; for what handlers ask for by its name; {PAUSES}",
            {"form": "budget", "amount": 49.5, "place": "call", "on_spent": "pause", "fallback": "open"},
        ),
    ],
)
async def test_a_limit_of_each_form(line: CommandLine, words: str, sentence: str, fields: dict[str, object]) -> None:
    """What the options say is what is kept, said back in a sentence, listed, and noted in the audit log."""
    answer = await line("limits", "set", "mine", *words.split(), *WHY)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[:2] == ["limit mine made", f"  now         {sentence}"]
    (kept,) = (await line("limits", "--json")).json
    assert fields.items() <= kept.items()
    row = (await line("limits")).out.splitlines()[1]
    assert row.split()[:2] == ["mine", kept["form"]]
    again = (await line("limits", "set", "mine", *words.split(), *WHY, "--json")).json
    assert (again["changed"], again["after"]) == (False, kept)
    (entry,) = (await line("audit", "list", "--json")).json
    assert (entry["action_type"], entry["name"], entry["reason"]) == ("set_limit", "mine", "a test")


async def test_a_limit_is_changed_and_dropped(line: CommandLine) -> None:
    """A change says what was before, a drop lets go what waited, and a limit that is not there is an error."""
    assert "no limits; make one: " in (await line("limits")).out
    await line("limits", "set", "mine", "--window", "10/h", *WHY)
    answer = await line("limits", "set", "mine", "--window", "20/h", *WHY)
    assert answer.out.splitlines()[:3] == [
        "limit mine changed",
        "  now         never more than 20 in any hour",
        "  before      never more than 10 in any hour",
    ]
    answer = await line("limits", "status", "mien")
    assert (answer.code, answer.err) == (1, "supervisor: there is no limit 'mien'; did you mean mine?\n")
    answer = await line("limits", "drop", "mine", *WHY)
    assert answer.out.splitlines()[0] == "limit mine removed: what waited for it may start"
    answer = await line("limits", "drop", "mine", *WHY)
    assert answer.code == 1
    assert "there is no limit 'mine'" in answer.err
    assert (await line("limits", "drop", "mine", *WHY, "--json")).json["changed"] is False


async def test_what_cannot_be_is_refused(line: CommandLine) -> None:
    """What only the database knows to be wrong is exit code 2, too, with what is wrong."""
    answer = await line("limits", "set", "x", "--concurrency", "3", "--on-spent", "pause", *WHY)
    assert answer.code == ExitCode.USAGE
    assert "on_spent = pause: is for quotas and budgets" in answer.err
    assert (await line("limits", "--json")).json == []


async def test_how_much_is_used_and_why_a_job_waits(line: CommandLine) -> None:
    """A job behind a limit that lets nothing through says so, with the limit, and a switch as another reason."""
    await add_worker(line.opened)
    (free,) = await enqueue(line.opened, 1)
    answer = await line("limits", "why", str(free))
    assert answer.out.splitlines()[0] == f"job {free} waits"
    await line("limits", "set", "none", "--window", "0/h", "--kind", "noop", *WHY)
    await line("kind", "pause", "noop", "--wait", "0", "--reason", "wrong prices")
    (job,) = await enqueue(line.opened, 1)
    reasons = (await line("limits", "why", str(job), "--json")).json["reasons"]
    assert [(one["what"], one["key"]) for one in reasons][:2] == [("switch", "kind:noop"), ("limit", "none")]
    text = (await line("limits", "why", str(job))).out
    assert "  switch      kind:noop: wrong prices, by " in text
    assert "  limit       none: it lets nothing through\n" in text
    answer = await line("limits", "why", "4711")
    assert (answer.code, answer.err) == (1, "supervisor: there is no job 4711, neither live nor in the history\n")
    (used,) = (await line("limits", "status", "none", "--json")).json
    assert (used["used"], used["amount"], used["remaining"]) == (0.0, 0.0, 0.0)
    assert (await line("limits", "status", "none")).out.splitlines()[0].split()[:2] == ["limit", "used"]


async def test_a_weight(line: CommandLine) -> None:
    """A tenant's weight is kept, listed and noted, and the same again changes nothing."""
    answer = await line("tenant", "weight", "acme", "2.5", *WHY)
    assert answer.out.splitlines()[0] == "tenant acme has weight 2.5"
    assert "nothing was changed" in (await line("tenant", "weight", "acme", "2.5", *WHY)).out
    assert (await line("tenant", "--json")).json[0]["weight"] == 2.5
    assert (await line("tenant")).out.splitlines()[1].split() == ["acme", "on", "2.5"]
    (entry,) = (await line("audit", "list", "--scope", "tenant", "--json")).json
    assert entry["action_type"] == "set_weight"
