"""The commands of the switches with a database: what they change, what they say, and what they record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from tests.process.command_line import CommandLine, command_line
from tests.store.sql_session import add_worker, claim, enqueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WHY = ("--reason", "a test")


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Turn:
    """A switch: the commands that turn it off and back, and what that makes of the control row and the audit log."""

    words: str
    back: str
    column: str
    value: object
    actions: tuple[str, str]


TURNS = (
    Turn(
        "kill-switch activate",
        "kill-switch deactivate",
        "killed",
        value=True,
        actions=("activate_kill_switch", "deactivate_kill_switch"),
    ),
    Turn("mode set safe-mode", "mode set normal", "mode", "safe_mode", ("set_mode", "set_mode")),
    Turn(
        "service disable billing",
        "service enable billing",
        "off_services",
        ["billing"],
        ("disable_service", "enable_service"),
    ),
    Turn("tenant pause acme", "tenant resume acme", "off_tenants", ["acme"], ("pause_tenant", "resume_tenant")),
    Turn("queue pause mail", "queue resume mail", "off_queues", ["mail"], ("pause_queue", "resume_queue")),
    Turn("kind pause noop", "kind resume noop", "off_kinds", ["noop"], ("pause_kind", "resume_kind")),
)


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.column)
async def test_each_switch_is_turned_and_turned_back(line: CommandLine, turn: Turn) -> None:
    """A command sets its switch and no other, its opposite sets it back, and both are in the audit log."""

    async def control() -> dict[str, object]:
        row = await line.opened.fetchrow("SELECT * FROM supervisor.control")
        assert row is not None
        return dict(row)

    usual = await control()
    answer = await line(*turn.words.split(), *WHY)
    assert answer.code == 0, answer.err
    assert f"undo        python -m supervisor {turn.back} --reason …\n" in answer.out
    row = await control()
    assert {name for name in row if row[name] != usual[name]} == {turn.column, "epoch", "updated_at"}
    assert row[turn.column] == turn.value

    again = await line(*turn.words.split(), *WHY)
    assert again.code == 0
    assert "it was so before, nothing was changed" in again.out

    assert (await line(*turn.back.split(), *WHY)).code == 0
    row = await control()
    assert {name for name in row if row[name] != usual[name]} == {"epoch", "updated_at"}
    entries = (await line("audit", "list", "--json")).json
    assert tuple(entry["action_type"] for entry in reversed(entries)) == turn.actions
    assert {entry["reason"] for entry in entries} == {"a test"}
    assert all("@" in entry["actor"] and entry["source"].startswith("command line") for entry in entries)


async def test_nobody_has_to_confirm(line: CommandLine) -> None:
    """Without a live worker there is nobody to wait for, which is said, and the exit code is 0."""
    answer = await line("kill-switch", "activate", *WHY)
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "kill switch active: no job starts on any host",
        "  running     nothing in its scope runs",
        "  confirmed   no worker is live; one that starts reads the switches first",
        "  undo        python -m supervisor kill-switch deactivate --reason …",
    ]


async def test_who_has_not_confirmed_is_named(line: CommandLine) -> None:
    """A live worker that says nothing is named, and the exit code is 1, unless nobody wanted to wait."""
    worker = await add_worker(line.opened)
    answer = await line("tenant", "pause", "acme", *WHY, "--wait", "50ms")
    assert answer.code == 1
    assert "confirmed   0/1 workers after " in answer.out
    assert f"worker {worker}, host (" in answer.out
    assert "what is off starts there neither" in answer.out
    answer = await line("tenant", "resume", "acme", *WHY, "--wait", "0", "--json")
    assert answer.code == 0
    assert answer.json["confirmation"]["missing"][0]["worker"] == worker

    await line.opened.execute("UPDATE supervisor.workers SET confirmed_epoch = $1", answer.json["epoch"])
    assert (await line("kill-switch")).out.splitlines()[3] == "  confirmed   1/1 workers"


async def test_what_would_be_stopped(line: CommandLine) -> None:
    """A dry run needs no reason, changes nothing, and says how much waits and which jobs run."""
    worker = await add_worker(line.opened)
    await enqueue(line.opened, 30)
    running = [row["id"] for row in await claim(line.opened, worker, 3)]
    answer = await line("kind", "pause", "noop", "--dry-run")
    assert answer.code == 0
    assert answer.out.splitlines()[:3] == [
        "dry run, nothing was changed; it would be: kind noop paused: none of its jobs starts on any host",
        "  waiting     27 jobs would not start",
        "  running     3 jobs would go on; the same with --cancel-running stops them",
    ]
    assert f"job {running[0]} noop, on worker {worker}" in answer.out
    found = (await line("kind", "pause", "noop", "--dry-run", "--cancel-running", "--json")).json
    assert (found["dry_run"], found["stops_waiting"], found["runs_on"]) == (True, 27, 3)
    assert [job["id"] for job in found["running"]] == running
    assert await line.value("SELECT epoch FROM supervisor.control") == 1
    assert await line.value("SELECT count(*) FROM supervisor.system_audit_log") == 0


async def test_what_runs_is_stopped(line: CommandLine) -> None:
    """With --cancel-running the jobs are taken from their worker, at the cost of no attempt."""
    worker = await add_worker(line.opened)
    await enqueue(line.opened, 3)
    await claim(line.opened, worker, 3)
    answer = await line("queue", "pause", "default", "--wait", "0", *WHY)
    assert "running     3 jobs go on; the same with --cancel-running stops them" in answer.out
    answer = await line("queue", "pause", "default", "--cancel-running", "--wait", "0", *WHY)
    assert "running     3 jobs stopped, at the cost of no attempt" in answer.out
    assert "so for      " in answer.out
    rows = await line.opened.fetch("SELECT claimed_by, attempts, interruptions, last_error FROM supervisor.jobs")
    assert {tuple(row)[:3] for row in rows} == {(None, 0, 1)}
    assert rows[0]["last_error"].endswith("queue default: a test")


async def test_it_turns_back(line: CommandLine) -> None:
    """A switch may have an end, which is shown and can be changed; one that is over is refused."""
    answer = await line("mode", "set", "observe_only", *WHY, "--expires", "2h")
    assert "turns back  by itself in 2h00m (" in answer.out
    seen = (await line("mode", "--json")).json
    left = datetime.fromisoformat(seen["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=110) < left < timedelta(minutes=130)
    answer = await line("mode", "set", "observe-only", *WHY, "--expires", "2999-05-01T09:00Z", "--json")
    assert answer.json["changed"]
    assert answer.json["expires_at"] == "2999-05-01T09:00:00Z"
    answer = await line("mode", "set", "observe_only", *WHY, "--expires", "2020-05-01T09:00Z")
    assert answer.code == ExitCode.USAGE
    assert "--expires: 2020-05-01T09:00:00Z is over" in answer.err


async def test_a_mistyped_name_is_pointed_out(line: CommandLine) -> None:
    """A kind, queue or service that nobody ever offered can be switched off, with a word about it."""
    answer = await line("kind", "pause", "nop", *WHY)
    assert answer.code == 0
    assert answer.err == "supervisor: no worker has ever offered a job of kind 'nop'; did you mean noop?\n"
    assert (await line("kind", "pause", "noop", *WHY)).err == ""
    assert (await line("tenant", "pause", "whoever", *WHY)).err == ""
    answer = await line("service", "disable", "x", *WHY, "--json")
    assert (answer.json["is_known"], answer.err) == (False, "")


async def test_all_that_is_off_is_shown(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One screen of 80 columns has each switch that is set with its age, end, person and reason."""
    monkeypatch.setenv("COLUMNS", "80")
    assert (await line("kill-switch")).out.splitlines()[-1] == "  off         nothing"
    await line("kill-switch", "activate", "--reason", "orders are charged twice")
    await line("mode", "set", "safe_mode", "--reason", "half of the disks are gone", "--expires", "1h")
    await line("tenant", "pause", "acme", "--reason", "they asked us to, until they have looked at it for themselves")
    lines = (await line("kill-switch", "status")).out.splitlines()
    assert lines[0] == "kill switch active: no job starts on any host"
    assert lines[1] == "  mode        safe_mode"
    assert [row.split("  ")[0] for row in lines[-4:]] == ["off", "kill switch", "mode safe_mode", "tenant acme"]
    assert "in 59m" in lines[-2]
    assert max(map(len, lines)) <= 80
    seen = (await line("kill-switch", "--json")).json
    assert seen["kill_switch"]["active"]
    assert seen["kill_switch"]["reason"] == "orders are charged twice"
    assert [(one["scope"], one["name"], one["value"]) for one in seen["off"]] == [
        ("kill_switch", None, True),
        ("mode", None, "safe_mode"),
        ("tenant", "acme", True),
    ]
    answer = await line("mode", "set", "normal", *WHY)
    assert "still off   kill switch; tenants acme; see: python -m supervisor kill-switch" in answer.out


async def test_one_name_and_all_names(line: CommandLine) -> None:
    """`status` says whether jobs of one name may start and what wider forbids it, `list` has each that is known."""
    await line("service", "disable", "billing", "--reason", "wrong prices")
    answer = await line("service", "status", "billing")
    assert answer.out.splitlines()[0] == "service billing disabled: none of its jobs starts on any host"
    assert "  reason      wrong prices\n" in answer.out
    assert (await line("service", "status", "default")).out == "service default: its jobs may start\n"
    rows = [row.split()[:2] for row in (await line("service")).out.splitlines()]
    assert rows == [["name", "state"], ["billing", "off"], ["default", "on"]]

    await line("mode", "set", "observe_only", *WHY)
    seen = (await line("service", "status", "default", "--json")).json
    assert (seen["off"], seen["may_start"]) == (False, False)
    assert seen["forbidden_by"] == ["mode observe_only: only jobs that change nothing start, on every host"]
    assert (await line("kind", "--json")).json[0]["kind"] == "noop"
    assert (await line("tenant")).out == "no tenant is paused or has a weight of its own\n"


async def test_the_audit_log_is_shown_and_found_whole(line: CommandLine) -> None:
    """Entries can be chosen, verified and exported, and an export shows a log that was made anew."""
    assert (await line("audit")).out == "nothing was changed\n"
    for tenant in ("acme", "globex"):
        await line("tenant", "pause", tenant, *WHY)
    await line("mode", "set", "safe_mode", *WHY)
    rows = (await line("audit")).out.splitlines()
    assert [row.split()[0] for row in rows] == ["id", "3", "2", "1"]
    assert "normal → safe_mode" in rows[1]
    found = (await line("audit", "list", "--scope", "tenant", "--name", "acme", "--since", "1h", "--json")).json
    assert [entry["id"] for entry in found] == [1]
    assert (await line("audit", "list", "--refused")).out == "no such entry\n"
    assert "the newest 2; --limit shows more" in (await line("audit", "list", "--limit", "2")).out

    file = line.folder / "audit.jsonl"
    assert (await line("audit", "export", "--to", str(file))).out == f"wrote 3 entries to {file}\n"
    assert (await line("audit", "export", "--to", str(file))).code == ExitCode.USAGE
    assert (await line("audit", "export")).out == file.read_text(encoding="utf-8")
    entries = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
    assert [(entry["id"], len(entry["digest"])) for entry in entries] == [(1, 64), (2, 64), (3, 64)]

    answer = await line("audit", "verify")
    end = f"3:{entries[-1]['digest']}"
    assert answer.out.splitlines() == [
        "the audit log is whole: 3 entries",
        f"  its end, to be noted elsewhere for --against: {end}",
    ]
    await line("mode", "set", "normal", *WHY)
    for against in (str(file), end):
        assert (await line("audit", "verify", "--against", against)).code == 0
    answer = await line("audit", "verify", "--against", f"3:{'0' * 64}", "--json")
    assert (answer.code, answer.json["whole"], answer.json["first_bad"]) == (1, False, 3)
    (line.folder / "empty").touch()
    for against, said in (("nowhere", "neither an end"), ("empty", "is no export")):
        answer = await line("audit", "verify", "--against", against)
        assert answer.code == ExitCode.USAGE
        assert said in " ".join(answer.err.split())


async def test_a_changed_entry_is_found(line: CommandLine) -> None:
    """Who edits an entry past the triggers is found out: exit code 1, and which entry it is."""
    for tenant in ("a", "b", "c"):
        await line("tenant", "pause", tenant, *WHY)
    await line.opened.execute("ALTER TABLE supervisor.system_audit_log DISABLE TRIGGER USER")
    await line.opened.execute("UPDATE supervisor.system_audit_log SET reason = 'another' WHERE id = 2")
    answer = await line("audit", "verify")
    assert (answer.code, answer.out) == (1, "")
    assert "the audit log is not whole: row 2 was edited" in answer.err
    assert "remedy: compare it with the last export" in answer.err


async def test_a_lock_that_somebody_holds(line: CommandLine) -> None:
    """A session that holds the lock of the switches and waits for its client cannot veto a kill switch."""
    await line.opened.execute("BEGIN")
    await line.opened.execute("SELECT supervisor.control_lock_exclusive()")
    answer = await line("kill-switch", "activate", *WHY)
    assert answer.code == 0, answer.err
    assert "kill switch active" in answer.out


async def test_very_many_switches(line: CommandLine) -> None:
    """With hundreds of paused tenants the screen shows some of them, and each can still be asked for."""
    await line.opened.execute(
        "SELECT supervisor.change_switch('tenant', 't' || n, 'true', 'why ' || n, 'me') "
        "FROM generate_series(1, 120) AS n"
    )
    lines = (await line("kill-switch")).out.splitlines()
    assert lines[-1] == "the first 50 of 120 in all; --json shows up to 1000"
    assert len((await line("kill-switch", "--json")).json["off"]) == 120
    assert (await line("tenant", "status", "t99", "--json")).json["reason"] == "why 99"
    assert len((await line("tenant")).out.splitlines()) == 121
    answer = await line("mode", "set", "normal", *WHY)
    assert "tenants t1, t10, t100, " in answer.out
    assert " and 110 more; see: " in answer.out
