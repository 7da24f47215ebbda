"""Finds the migrations, files called NNN_descriptive_name.sql, and reads each into statements and a checksum.

Numbers run from 001 without a gap. A file is UTF-8; its line ends may be of any kind and count as LF, so the checksum
is the same in every checkout. Its first line may be a directive:

    -- supervisor: no-transaction, timeout=30m, lock-timeout=3s

`no-transaction` is for the one statement that PostgreSQL refuses inside a transaction; see `parse`. `timeout` and
`lock-timeout` stand for the limits of this migration.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import MigrationError
from supervisor.store.schema_name import Reference, Renamed, references, rename
from supervisor.store.sql_tokens import Kind, SqlTextError, Token, scan, statements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_FILE: Final = re.compile(r"([0-9]{3})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql")
_DIRECTIVE: Final = re.compile(r"--\s*supervisor:\s*(.*?)\s*")
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_OPTIONS: Final = "no-transaction, timeout=30m, lock-timeout=3s"
_CONTROL: Final = re.compile(r"(abort|begin|commit|end|release|rollback|savepoint|start|prepare transaction)\b")
_SHOWN_LINE: Final = 200


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file, which begins at `start` of the file's text, and where it names the schema."""

    start: int
    sql: str
    references: tuple[Reference, ...]
    words: str
    """The keywords and names it begins with, in lower case."""

    def for_schema(self, schema: str) -> Renamed:
        """Return the statement for a schema of this name. Raises ConfigError if no schema can have it."""
        return rename(self.sql, self.references, schema)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `text` has LF line ends, `checksum` is the SHA-256 of it.

    Its content is read when it is asked for, since most processes find nothing to apply: all but the first five raise
    MigrationError where the file breaks the rules of `parse`.
    """

    version: int
    name: str
    path: str
    text: str
    checksum: str

    @property
    def content(self) -> Content:
        """What the file says to do, and how."""
        return _content(self.version, self.path, self.text)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The statements, in order."""
        return self.content.statements

    @property
    def transactional(self) -> bool:
        """Whether they run in one transaction."""
        return self.content.directive.transactional

    @property
    def timeout(self) -> float | None:
        """The limit of a statement in seconds, if the file sets one."""
        return self.content.directive.timeout

    @property
    def lock_timeout(self) -> float | None:
        """The limit of a wait for a lock in seconds, if the file sets one."""
        return self.content.directive.lock_timeout

    @property
    def label(self) -> str:
        """The file's name without its ending, as in 001_jobs."""
        return f"{self.version:03}_{self.name}"

    def at(self, offset: int, message: str) -> str:
        """Write a message about a place in the text: with file, line and column, and the line itself below."""
        return located(self.path, self.text, offset, message)


@dataclass(frozen=True, slots=True)
class _Directive:
    transactional: bool = True
    timeout: float | None = None
    lock_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file: its statements, and how they are to be run."""

    statements: tuple[Statement, ...]
    directive: _Directive


def located(path: str, text: str, offset: int, message: str) -> str:
    """Write a message about a place in a text: `path:line:column: message`, and the line itself below."""
    start = text.rfind("\n", 0, offset) + 1
    line = text[start:].partition("\n")[0]
    number, column = text.count("\n", 0, offset) + 1, offset - start
    cut = max(0, column - _SHOWN_LINE // 2)
    margin = f"  {number} | "
    pointer = "".join(character if character == "\t" else " " for character in line[cut:column])
    shown = line[cut : cut + _SHOWN_LINE]
    return f"{path}:{number}:{column + 1}: {message}\n{margin}{shown}\n{' ' * (len(margin) - 2)}| {pointer}^"


def shipped() -> Traversable:
    """Return the folder of our own migrations: in the installed package, else in the checkout it runs from."""
    package = resources.files("supervisor")
    installed = package / "_migrations"
    return installed if installed.is_dir() else Path(str(package)).parent / "migrations"


def load(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Read every migration of a folder, by default our own, in order.

    Files that do not end in `.sql` are left alone.

    Raises:
        MigrationError: the folder has none, a name or a number is wrong, or a file is no UTF-8.

    """
    folder = shipped() if folder is None else folder
    if not folder.is_dir():
        raise MigrationError(f"{folder}: is no folder, so there are no migrations; reinstall supervisor-runtime")
    files = {file.name: file for file in folder.iterdir() if file.name.lower().endswith(".sql")}
    numbered = _numbered(folder, sorted(files))
    return tuple(
        _read(version, name, str(files[file]), files[file].read_bytes()) for version, (file, name) in numbered.items()
    )


def _numbered(folder: Traversable, files: list[str]) -> dict[int, tuple[str, str]]:
    """Give each number its file and name, and check that the numbers run from 1 without a gap."""
    numbered: dict[int, tuple[str, str]] = {}
    for file in files:
        if (found := _FILE.fullmatch(file)) is None:
            raise MigrationError(
                f"{folder}: {file} is not called NNN_descriptive_name.sql, as in 007_job_steps.sql: three digits, then "
                "a-z, 0-9 and _; rename it, or move it elsewhere"
            )
        version = int(found[1])
        if version in numbered:
            raise MigrationError(f"{folder}: two files have number {version:03}: {numbered[version][0]} and {file}")
        numbered[version] = (file, found[2])
    if not files:
        raise MigrationError(f"{folder}: has no migrations; reinstall supervisor-runtime")
    missing = [f"{version:03}" for version in range(1, max(numbered) + 1) if version not in numbered]
    if missing or 0 in numbered:
        wrong = f"missing {', '.join(missing)}" if missing else "000 is none of them"
        raise MigrationError(f"{folder}: numbers must run from 001 without a gap, {wrong}; found {', '.join(files)}")
    return numbered


def parse(version: int, name: str, path: str, raw: bytes) -> Migration:
    """Read one migration from the bytes of its file.

    The file must have a statement, must leave transactions to us, and must name the schema by the rule of
    `schema_name`. One with `no-transaction` must have exactly one statement, which is safe to run twice: if we die
    before we have recorded it, it runs again. CREATE INDEX CONCURRENTLY must therefore say IF NOT EXISTS, and DROP
    INDEX CONCURRENTLY IF EXISTS.

    Raises:
        MigrationError: the file breaks one of these rules; the message names file, line and column.

    """
    migration = _read(version, name, path, raw)
    _ = migration.content
    return migration


def _read(version: int, name: str, path: str, raw: bytes) -> Migration:
    text = _decoded(path, raw)
    return Migration(version, name, path, text, hashlib.sha256(text.encode()).hexdigest())


@functools.lru_cache(maxsize=256)
def _content(version: int, path: str, text: str) -> Content:
    try:
        directive = _directive(text)
        found = tuple(_statement(text, tokens) for tokens in statements(text))
        _check_statements(version, found, directive)
    except SqlTextError as error:
        raise MigrationError(located(path, text, error.offset, str(error))) from None
    return Content(found, directive)


def _decoded(path: str, raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise MigrationError(f"{path}:1:1: begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise MigrationError(f"{path}:{line}: is not UTF-8; save it as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise MigrationError(located(path, text, text.index("\0"), "a null character, which no SQL can have"))
    return text


def _directive(text: str) -> _Directive:
    directive = _Directive()
    for token in scan(text):
        found = _DIRECTIVE.fullmatch(token.text) if token.kind is Kind.COMMENT else None
        if found is None:
            continue
        if token.start > 0:
            raise SqlTextError(token.start, "a directive works only as the first line of the file")
        given = dict(_option(token.start + found.start(1), text) for text in found[1].split(","))
        directive = _Directive(
            transactional="no-transaction" not in given,
            timeout=given.get("timeout"),
            lock_timeout=given.get("lock-timeout"),
        )
    return directive


def _option(offset: int, text: str) -> tuple[str, float | None]:
    name, equals, value = text.strip().partition("=")
    duration = _DURATION.fullmatch(value)
    if name == "no-transaction" and not equals:
        return name, None
    if name in {"timeout", "lock-timeout"} and duration is not None and float(duration[1]) > 0:
        return name, float(duration[1]) * _SECONDS[duration[2]]
    raise SqlTextError(offset, f"{text.strip()!r} is no directive; these are: {_OPTIONS}")


def _statement(text: str, tokens: tuple[Token, ...]) -> Statement:
    start, end = tokens[0].start, tokens[-1].end
    words = " ".join(_leading_words(tokens))
    if _CONTROL.match(words):
        raise SqlTextError(start, "a migration does not control its transaction: it is one, or says no-transaction")
    if words.startswith("copy") and any(token.is_word("stdin", "stdout") for token in tokens):
        raise SqlTextError(start, "a migration has no standard input or output to copy from or to; use INSERT")
    try:
        found = references(text[start:end])
    except SqlTextError as error:
        raise SqlTextError(start + error.offset, str(error)) from None
    return Statement(start, text[start:end], found, words)


def _leading_words(tokens: tuple[Token, ...]) -> Iterator[str]:
    for token in tokens:
        if token.kind is not Kind.WORD:
            return
        yield token.text.lower()


def _check_statements(version: int, found: tuple[Statement, ...], directive: _Directive) -> None:
    if not found:
        raise SqlTextError(0, "there is no statement in this file; write one, or delete the file if it is the last")
    if directive.transactional:
        return
    if version == 1:
        raise SqlTextError(0, "the first migration needs its transaction; put this statement into a later one")
    if len(found) > 1:
        raise SqlTextError(
            found[1].start, "no-transaction is for exactly one statement; put this one into the next file"
        )
    words = found[0].words.replace("create unique", "create")
    for start, guard in (("create index concurrently", "if not exists"), ("drop index concurrently", "if exists")):
        if words.startswith(start) and not words.startswith(f"{start} {guard}"):
            raise SqlTextError(found[0].start, f"{start.upper()} may have to run again, so it must say {guard.upper()}")
