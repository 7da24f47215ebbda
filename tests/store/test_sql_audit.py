"""The audit log: only added to, and whatever is done to it past that is found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import connected, schema, session
from tests.store.switching import change, log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.store.sql_session import Connection

WRITE = "SELECT supervisor.write_audit('try', 'kill_switch', NULL, $1, $2)"
VERIFY = "SELECT * FROM supervisor.audit_verify($1, $2)"
UNGUARD = "ALTER TABLE supervisor.system_audit_log DISABLE TRIGGER USER"
COPY = (
    "INSERT INTO supervisor.system_audit_log (id, action_type, actor, created_at, digest) "
    "SELECT {0}, action_type, actor, created_at, digest FROM supervisor.system_audit_log WHERE id = {1}"
)
EDIT = "UPDATE supervisor.system_audit_log SET {} = {} WHERE id = {}"
REMOVE = "DELETE FROM supervisor.system_audit_log WHERE id {}"
FORGED = """
INSERT INTO supervisor.system_audit_log
SELECT made.* FROM supervisor.system_audit_log AS entry, supervisor.audit_head AS head,
    LATERAL jsonb_populate_record(entry, '{"id": 11}') AS next,
    LATERAL jsonb_populate_record(next, jsonb_build_object(
        'digest', supervisor.audit_digest(head.digest, next))) AS made
WHERE entry.id = 10"""
SHORTER = "UPDATE supervisor.audit_head SET last = 9"


async def write(opened: Connection, count: int = 10) -> None:
    """Add so many rows."""
    for number in range(count):
        await opened.fetchval(WRITE, f"actor {number}", f"reason {number}")


async def verify(opened: Connection, start: int = 1, most: int = 1000) -> dict[str, object]:
    """Verify once."""
    row = await opened.fetchrow(VERIFY, start, most)
    assert row is not None
    return dict(row)


async def test_a_log_that_was_left_alone_is_whole() -> None:
    """A log that was only added to verifies from its beginning, empty or not, and in pieces of any size."""
    async with connected() as opened:
        whole: Mapping[str, object] = {"checked": 0, "last_id": 0, "first_bad": None, "problem": None}
        assert await verify(opened) == whole
        await write(opened)
        await change(opened, "kill_switch")
        assert await verify(opened) == {**whole, "checked": 11, "last_id": 11}
        assert await verify(opened, 1, 11) == {**whole, "checked": 11, "last_id": 11}
        for most in (1, 3, 4):
            start = 1
            while (found := await verify(opened, start, most))["checked"]:
                assert found["problem"] is None
                start = int(str(found["last_id"])) + 1
            assert start == 12


async def test_writers_at_once_make_one_chain() -> None:
    """Eight sessions that write at once leave ids without a gap and a chain that verifies."""
    async with schema() as dsn, session(dsn) as opened:

        async def writer(number: int) -> None:
            async with session(dsn) as other:
                for turn in range(25):
                    match (number + turn) % 3:
                        case 0:
                            await change(other, "tenant", f"t{number}", value=turn % 2 == 0)
                        case 1:
                            undone = other.transaction()
                            await undone.start()
                            await other.fetchval(WRITE, "nobody", "undone")
                            await undone.rollback()
                        case _:
                            await other.fetchval(WRITE, f"w{number}", None)

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(writer(number))
        rows = await log(opened)
        assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
        assert "nobody" not in {row["actor"] for row in rows}
        times = [row["created_at"] for row in rows]
        assert times == sorted(times)
        assert await verify(opened) == {"checked": len(rows), "last_id": len(rows), "first_bad": None, "problem": None}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE supervisor.system_audit_log SET actor = 'nobody'",
        "DELETE FROM supervisor.system_audit_log WHERE id = 3",
        "DELETE FROM supervisor.system_audit_log WHERE false",
        "TRUNCATE supervisor.system_audit_log",
        "DELETE FROM supervisor.audit_head",
        "TRUNCATE supervisor.audit_head",
    ],
)
async def test_rows_stay_as_they_are(statement: str) -> None:
    """The log cannot be changed, not even by its owner."""
    async with connected() as opened:
        await write(opened)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only added"):
            await opened.execute(statement)
        assert (await verify(opened))["checked"] == 10


@pytest.mark.parametrize(
    ("statement", "first_bad", "problem"),
    [
        *(
            (EDIT.format(column, value, 4), 4, "edited")
            for column, value in {
                "action_type": "'other'",
                "scope": "NULL",
                "name": "'acme'",
                "actor": "'nobody'",
                "reason": "'because'",
                "before": "'{}'",
                "after": "'{}'",
                "accepted": "false",
                "source": "'::1'",
                "request_id": "'r'",
                "epoch": "9",
                "created_at": "created_at + interval '1 microsecond'",
                "digest": "'\\x00'",
            }.items()
        ),
        (EDIT.format("actor", "'nobody'", 10), 10, "edited"),
        (REMOVE.format("= 1"), 1, "row 1 was removed"),
        (REMOVE.format("= 5"), 5, "row 5 was removed"),
        (REMOVE.format("= 10"), 10, "the last ones, were removed"),
        (REMOVE.format("> 7"), 8, "rows 8 to 10, the last ones, were removed"),
        (REMOVE.format("> 0"), 1, "rows 1 to 10, the last ones, were removed"),
        (COPY.format(11, 10), 11, "row 11 was inserted"),
        (COPY.format(12, 10), 11, "row 12 was inserted"),
        (COPY.format(0, 10), 0, "row 0 was inserted"),
        (COPY.format(-5, 10), -5, "row -5 was inserted"),
        (FORGED, 11, "row 11 was inserted"),
        ("; ".join([REMOVE.format("= 5"), COPY.format(5, 6)]), 5, "edited"),
        ("; ".join([EDIT.format("id", "-3", 3), EDIT.format("id", "3", 4)]), -3, "inserted"),
        ("; ".join([REMOVE.format("= 10"), SHORTER]), 9, "not the one"),
        (SHORTER, 10, "row 10 was inserted"),
        ("UPDATE supervisor.audit_head SET digest = '\\x00'", 10, "not the one"),
        ("UPDATE supervisor.installation SET id = gen_random_uuid()", 1, "edited"),
    ],
)
async def test_what_was_done_to_the_log_is_found(statement: str, first_bad: int, problem: str) -> None:
    """An edited, removed or inserted row is named, whichever it is, also when the log is verified in pieces."""
    async with connected() as opened:
        await write(opened)
        await opened.execute(UNGUARD)
        await opened.execute(statement)
        found = await verify(opened)
        assert found["first_bad"] == first_bad
        assert problem in str(found["problem"])
        start, pieces = 1, 0
        while (piece := await verify(opened, start, 3))["problem"] is None and pieces < 10:
            start, pieces = int(str(piece["last_id"])) + 1, pieces + 1
        assert piece["first_bad"] == first_bad


async def test_an_edit_with_a_digest_that_fits_is_found_behind_it() -> None:
    """A row that was edited together with its own digest breaks the chain at the next one."""
    async with connected() as opened:
        await write(opened)
        await opened.execute(UNGUARD)
        await opened.execute("UPDATE supervisor.system_audit_log SET actor = 'nobody' WHERE id = 4")
        await opened.execute(
            "UPDATE supervisor.system_audit_log AS entry SET digest = supervisor.audit_digest((SELECT digest "
            "FROM supervisor.system_audit_log WHERE id = 3), entry) WHERE id = 4"
        )
        assert (await verify(opened))["first_bad"] == 5


async def test_settings_of_a_session_change_no_digest() -> None:
    """A log that was written under other settings of time and number verifies."""
    async with connected() as opened:
        for number, settings in enumerate(
            ["TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German'", "bytea_output = 'escape'"]
        ):
            await opened.execute(f"SET {settings}")
            await change(opened, "tenant", f"t{number}", reason="Grüße, 你好 \\ \" '", expires=60.0)
        await opened.execute("RESET ALL")
        assert await verify(opened) == {"checked": 3, "last_id": 3, "first_bad": None, "problem": None}


async def test_a_refused_attempt_is_written_and_cut() -> None:
    """An attempt that was refused has a row of its own, whatever it said and however long."""
    async with connected() as opened:
        long = "x" * 5000
        number = await opened.fetchval(
            "SELECT supervisor.write_audit($1, $1, $1, $1, $1, accepted => false, source => $1, request_id => $1)", long
        )
        (row,) = await log(opened)
        assert (row["id"], row["accepted"], row["epoch"]) == (number, False, None)
        assert (len(row["actor"]), len(row["reason"]), len(row["source"])) == (256, 1000, 256)
        assert (await verify(opened))["problem"] is None


async def test_a_row_needs_an_actor() -> None:
    """Nobody writes a row that does not say who."""
    async with connected() as opened:
        with pytest.raises(asyncpg.NotNullViolationError):
            await opened.fetchval(WRITE, None, "why")
        assert await log(opened) == []
