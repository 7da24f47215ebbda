"""Which folders and files of migrations are taken, and what is said about those that are not."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import MigrationError
from supervisor.store import concurrent_index
from supervisor.store.migration_files import Migration, load, located, parse, shipped
from supervisor.store.sql_tokens import significant

if TYPE_CHECKING:
    from pathlib import Path


def read(text: str | bytes, version: int = 2) -> Migration:
    """Read a text as if it were the file m/002_x.sql."""
    return parse(version, "x", f"m/{version:03}_x.sql", text.encode() if isinstance(text, str) else text)


def put(folder: Path, *names: str) -> Path:
    """Write a file of one statement under each name."""
    for name in names:
        (folder / name).write_text("SELECT 1", encoding="utf-8")
    return folder


def test_files_come_in_order(tmp_path: Path) -> None:
    """Every .sql file is read, in the order of the numbers, and other files are left alone."""
    put(tmp_path, "002_b.sql", "001_the_first_1.sql", "003_c.sql", "README.md", "004_d.sql.bak")
    files = load(tmp_path)
    assert [(file.version, file.name, file.label) for file in files] == [
        (1, "the_first_1", "001_the_first_1"),
        (2, "b", "002_b"),
        (3, "c", "003_c"),
    ]
    assert files[0].path == str(tmp_path / "001_the_first_1.sql")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no migrations"),
        (["002_b.sql"], "missing 001; found 002_b.sql"),
        (["001_a.sql", "002_b.sql", "005_e.sql"], "missing 003, 004; found 001_a.sql, 002_b.sql, 005_e.sql"),
        (["001_a.sql", "001_b.sql"], "two files have number 001: 001_a.sql and 001_b.sql"),
        (["000_a.sql", "001_b.sql"], "000 is none of them; found 000_a.sql, 001_b.sql"),
        (["1_a.sql"], "1_a.sql is not called NNN_descriptive_name.sql"),
        (["0001_a.sql"], "0001_a.sql is not called"),
        (["001.sql"], "001.sql is not called"),
        (["001_.sql"], "001_.sql is not called"),
        (["001_A.sql"], "001_A.sql is not called"),
        (["001_a-b.sql"], "001_a-b.sql is not called"),
        (["001_a__b.sql"], "001_a__b.sql is not called"),
        (["\u0660\u0660\u0661_a.sql"], "_a.sql is not called"),
        (["001_a.SQL"], "001_a.SQL is not called"),
    ],
)
def test_a_folder_that_is_wrong(tmp_path: Path, names: list[str], message: str) -> None:
    """A gap, a number that is there twice, or a name of another form is an error that names the files."""
    with pytest.raises(MigrationError, match=re.escape(message)):
        load(put(tmp_path, *names))


def test_no_folder(tmp_path: Path) -> None:
    """A folder that does not exist is an error that names it."""
    with pytest.raises(MigrationError, match="nowhere: is no folder"):
        load(tmp_path / "nowhere")


def test_our_own_migrations_keep_the_rules() -> None:
    """The migrations that this release ships can be read."""
    assert [file.version for file in load()] == list(range(1, len(load()) + 1))
    assert shipped().is_dir()


def test_statements_are_found_where_they_stand() -> None:
    """A file is cut into statements, each with its place, and the checksum is that of the whole text."""
    text = "-- first\nCREATE TABLE supervisor.a ();\n\n  SELECT ';' ;\n-- last"
    file = read(text)
    assert [(one.start, one.sql) for one in file.statements] == [
        (9, "CREATE TABLE supervisor.a ()"),
        (42, "SELECT ';'"),
    ]
    assert file.text == text
    assert file.checksum == hashlib.sha256(text.encode()).hexdigest()
    assert (file.transactional, file.timeout, file.lock_timeout) == (True, None, None)
    assert file.statements[0].for_schema("x").text == 'CREATE TABLE "x".a ()'


@given(st.text(st.sampled_from("a \n\té$'"), max_size=30), st.sampled_from(["\r\n", "\r", "\n"]))
def test_the_checksum_is_the_same_in_every_checkout(text: str, ends: str) -> None:
    """Whatever line ends a checkout makes, the checksum stays the same."""
    body = f"SELECT 1; /* {text} */\n-- end\n"
    assert read(body.replace("\n", ends)).checksum == read(body).checksum


def test_the_checksum_sees_every_change() -> None:
    """A change within a line, even of a comment, is another checksum."""
    assert read("SELECT 1 -- a").checksum != read("SELECT 1 -- b").checksum


@pytest.mark.parametrize(
    ("text", "transactional", "timeout", "lock_timeout"),
    [
        ("-- supervisor: no-transaction\nVACUUM", False, None, None),
        ("--supervisor:no-transaction , timeout=1.5h\r\nVACUUM", False, 5400.0, None),
        ("-- supervisor: timeout=30m, lock-timeout=250ms\nSELECT 1", True, 1800.0, 0.25),
        ("-- supervisor: lock-timeout=3s\nSELECT 1", True, None, 3.0),
        ("-- a supervisor: timeout=1s\nSELECT 1 -- supervisor timeout=1s", True, None, None),
        ("SELECT '\n-- supervisor: no-transaction\n'", True, None, None),
    ],
)
def test_directives(text: str, transactional: bool, timeout: float | None, lock_timeout: float | None) -> None:
    """The first line may change how a file is run; text that only looks like it changes nothing."""
    file = read(text)
    assert (file.transactional, file.timeout, file.lock_timeout) == (transactional, timeout, lock_timeout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xef\xbb\xbfSELECT 1", "m/002_x.sql:1:1: begins with a byte order mark"),
        (b"SELECT 1;\nSELECT '\xff'", "m/002_x.sql:2: is not UTF-8"),
        ("SELECT 1;\n\0", "m/002_x.sql:2:1: a null character"),
        ("", "m/002_x.sql:1:1: there is no statement"),
        (" ;\n-- nothing\n/* at all */;", "m/002_x.sql:1:1: there is no statement"),
        ("SELECT 1;\n SELECT 'a", "m/002_x.sql:2:9: the ' is never closed"),
        ("SELECT 1;\n/* a", "m/002_x.sql:2:1: the comment is never closed"),
        ("SELECT 1;\n\nSELECT 2, supervisor", "m/002_x.sql:3:11: supervisor stands here for something other"),
        ("DO $$\nBEGIN\n  x := 'supervisor.a b';\nEND$$", "m/002_x.sql:3:9: supervisor. stands here in a literal"),
        ("BEGIN; SELECT 1; COMMIT", "m/002_x.sql:1:1: a migration does not control its transaction"),
        ("SELECT 1;\n  Start Transaction", "m/002_x.sql:2:3: a migration does not control its transaction"),
        ("SELECT 1; commit", "m/002_x.sql:1:11: a migration does not control its transaction"),
        ("COPY supervisor.a (b) FROM STDIN", "m/002_x.sql:1:1: a migration has no standard input"),
        ("SAVEPOINT a", "does not control its transaction"),
        ("PREPARE TRANSACTION 'a'", "does not control its transaction"),
        ("SELECT 1;\n-- supervisor: no-transaction", "m/002_x.sql:2:1: a directive works only as the first line"),
        (" -- supervisor: no-transaction\nVACUUM", "m/002_x.sql:1:2: a directive works only as the first line"),
        ("-- supervisor: no-transactions\nVACUUM", "m/002_x.sql:1:16: 'no-transactions' is no directive; these are:"),
        ("-- supervisor:\nVACUUM", "'' is no directive"),
        ("-- supervisor: timeout\nVACUUM", "'timeout' is no directive"),
        ("-- supervisor: timeout=0s\nVACUUM", "'timeout=0s' is no directive"),
        ("-- supervisor: timeout=5\nVACUUM", "'timeout=5' is no directive"),
        ("-- supervisor: no-transaction=1\nVACUUM", "'no-transaction=1' is no directive"),
        ("-- supervisor: no-transaction\nVACUUM;\nVACUUM", "m/002_x.sql:3:1: no-transaction is for exactly one"),
        (
            "-- supervisor: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY i ON supervisor.a (b)",
            "m/002_x.sql:2:1: CREATE INDEX CONCURRENTLY may have to run again, so it must say IF NOT EXISTS",
        ),
        (
            "-- supervisor: no-transaction\nDROP INDEX CONCURRENTLY supervisor.i",
            "m/002_x.sql:2:1: DROP INDEX CONCURRENTLY may have to run again, so it must say IF EXISTS",
        ),
    ],
)
def test_a_file_that_is_wrong(text: str | bytes, message: str) -> None:
    """What breaks a rule is an error with file, line and column."""
    with pytest.raises(MigrationError, match=re.escape(message)):
        read(text)


@pytest.mark.parametrize(
    "text", ["PREPARE a AS SELECT 1", "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END", "SELECT 1 AS commit", "ENDS"]
)
def test_statements_that_only_look_like_transactions(text: str) -> None:
    """A word that controls a transaction somewhere else is no reason to refuse."""
    assert len(read(text).statements) == 1


def test_the_first_migration_has_a_transaction() -> None:
    """The first one makes the schema and the record, so it cannot do without a transaction."""
    with pytest.raises(MigrationError, match="the first migration needs its transaction"):
        read("-- supervisor: no-transaction\nVACUUM", version=1)


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON supervisor.a (b)", '"x".i'),
        ("create unique index /**/ concurrently if not exists Jobs_Due on supervisor.a (b)", '"x".Jobs_Due'),
        ('CREATE INDEX CONCURRENTLY IF NOT EXISTS "unique" ON supervisor.a (b)', '"x"."unique"'),
        ("DROP INDEX CONCURRENTLY IF EXISTS supervisor.i", None),
        ("VACUUM supervisor.a", None),
    ],
)
def test_the_index_that_is_built(sql: str, index: str | None) -> None:
    """The name of an index that is built without a transaction is known, so that its validity can be checked."""
    assert concurrent_index.built_by(read(f"-- supervisor: no-transaction\n{sql}"), "x") == index


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        ("one\ntwo three\nfour", 8, "f:2:5: m\n  2 | two three\n    |     ^"),
        ("\ta", 1, "f:1:2: m\n  1 | \ta\n    | \t^"),
        ("ab", 2, "f:1:3: m\n  1 | ab\n    |   ^"),
        ("a\n", 2, "f:2:1: m\n  2 | \n    | ^"),
        ("x" * 300, 250, f"f:1:251: m\n  1 | {'x' * 150}\n    | {' ' * 100}^"),
    ],
)
def test_a_place_is_shown(text: str, offset: int, expected: str) -> None:
    """A message about a place has the line, the column, and the line's text with a mark, cut if it is long."""
    assert located("f", text, offset, "m") == expected


@given(st.text(st.sampled_from("'\";$-/*()aE\\ \nsupervisor."), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """A file of any text is read or refused with its place, and never breaks the reader."""
    try:
        file = read(text)
    except MigrationError as error:
        assert str(error).startswith("m/002_x.sql:")  # noqa: PT017 - both ends are fine
    else:
        assert all(list(significant(one.sql)) for one in file.statements)
