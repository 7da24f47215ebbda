"""Puts SQL that names the schema `supervisor` into a schema of another name, without touching anything else.

The rule, for a text in which the schema is called `supervisor`:

* In code the name is replaced where it is followed by a dot (`supervisor.jobs`), where it stands after SCHEMA
  (`ON SCHEMA supervisor`, `DROP SCHEMA IF EXISTS other, supervisor`), and in the list after `search_path =` or
  `search_path TO`. Upper case and quotes are those of PostgreSQL: `Supervisor` and `"supervisor"` are the name,
  `"Supervisor"` is not.
* What stands between dollar quotes is code, at any depth: the body of a function, of a DO block, of a text for EXECUTE.
* In a plain literal it is replaced if the whole literal is `'supervisor'` or `'supervisor.name'`: a channel of NOTIFY,
  `nextval('supervisor.job_ids')`, `'supervisor.jobs'::regclass`, `current_setting('supervisor.worker')`.
* Comments, all other literals, and literals with a prefix are never touched: `E'supervisor'` is how to write the word
  where it is not the schema.

What would break only under another name is an error under every name: the word in code where it is not the schema,
and a longer plain literal with `supervisor.name` in it, which is either SQL (put it between dollar quotes) or prose
(write `E'…'`).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError
from supervisor.store.sql_tokens import Kind, SqlTextError, Token, significant

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SCHEMA: Final = "supervisor"

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_WHOLE_LITERAL: Final = re.compile(rf"'{DEFAULT_SCHEMA}(?:\.[A-Za-z_][A-Za-z0-9_$]*)?'")
_WITHIN_LITERAL: Final = re.compile(rf"""(?<![\w$.]){DEFAULT_SCHEMA}\.["%\w]""")


@dataclass(frozen=True, slots=True)
class Reference:
    """A place from `start` up to `end` where a text names the schema; `in_literal` if that is in a plain literal."""

    start: int
    end: int
    in_literal: bool = False


@dataclass(frozen=True, slots=True)
class Renamed:
    """A text with the schema's name put in; `edits` has, for each name, what it is here and what it was there."""

    text: str
    edits: tuple[tuple[Reference, Reference], ...] = ()

    def original(self, offset: int) -> int:
        """Return the offset in the original text; within a name it is where the name starts."""
        shift = 0
        for here, there in self.edits:
            if offset < here.end:
                return offset + shift if offset < here.start else there.start
            shift = there.end - here.end
        return offset + shift


class _Place(Enum):
    """What may come next in code: anything, the `=` of search_path, a name of a list, or what follows a name."""

    ANYWHERE = auto()
    AFTER_PATH = auto()
    BEFORE_NAME = auto()
    AFTER_NAME = auto()


def check_schema(name: str) -> str:
    """Return the name of a schema if it can be ours.

    Raises:
        ConfigError: it is no name that works without quotes everywhere, or PostgreSQL keeps it for itself.

    """
    if _SCHEMA.fullmatch(name) is None:
        raise ConfigError(
            f"schema = {name!r}: is not the name of a schema\n"
            "  allowed: a-z, 0-9 and _, at most 63 of them, the first not a digit\n"
            f"  remedy: correct it, or leave it out for the default: {DEFAULT_SCHEMA}"
        )
    if name.startswith("pg_") or name == "information_schema":
        raise ConfigError(
            f"schema = {name!r}: is kept by PostgreSQL for itself\n"
            f"  remedy: choose another name, or leave it out for the default: {DEFAULT_SCHEMA}"
        )
    return name


def in_schema(sql: str, schema: str) -> str:
    """Return a text, which says `supervisor`, for a schema of this name; see the rule of this module.

    Raises:
        ConfigError: the name cannot be that of a schema.
        SqlTextError: the text breaks the rule.

    """
    return rename(sql, references(sql), schema).text


def rename(text: str, found: tuple[Reference, ...], schema: str) -> Renamed:
    """Put the name of a schema into every one of the references that were found in a text.

    In code it is put between quotes, since `order` and `user` are good names too. Raises ConfigError for a name that
    cannot be that of a schema.
    """
    if check_schema(schema) == DEFAULT_SCHEMA:
        return Renamed(text)
    pieces: list[str] = []
    edits: list[tuple[Reference, Reference]] = []
    read = written = 0
    for there in found:
        name = schema if there.in_literal else f'"{schema}"'
        start = written + there.start - read
        pieces += text[read : there.start], name
        read, written = there.end, start + len(name)
        edits.append((Reference(start, written, there.in_literal), there))
    return Renamed("".join([*pieces, text[read:]]), tuple(edits))


def references(text: str) -> tuple[Reference, ...]:
    """Find every place where a text names the schema.

    Raises:
        SqlTextError: it has the word where nobody can tell what it means, or a quote or a comment does not end.

    """
    return tuple(_references(list(significant(text))))


def _references(tokens: list[Token]) -> Iterator[Reference]:
    end = Token(Kind.SPACE, 0, 0, "")
    place, before = _Place.ANYWHERE, end
    for token, after in pairwise([*tokens, end]):
        if token.kind is Kind.DOLLAR_STRING:
            yield from _in_body(token)
        elif token.kind is Kind.STRING:
            yield from _in_literal(token)
        elif _is_the_name(token):
            if before.text == "." or not (after.text == "." or place is _Place.BEFORE_NAME):
                raise SqlTextError(
                    token.start,
                    f"{token.text} stands here for something other than the schema; call that by another name, "
                    f"or, in prose, write E'{DEFAULT_SCHEMA}'",
                )
            yield Reference(token.start, token.end)
        place, before = _place_after(place, token), token


def _in_body(token: Token) -> Iterator[Reference]:
    """Find the name between dollar quotes; what does not end there is for PostgreSQL to judge, or no SQL at all."""
    opening = token.text.index("$", 1) + 1
    tokens: list[Token] = []
    base = token.start + opening
    with contextlib.suppress(SqlTextError):
        for inner in significant(token.text[opening:-opening]):
            tokens.append(inner)  # noqa: PERF402 - those before the error are kept
    try:
        for found in _references(tokens):
            yield replace(found, start=base + found.start, end=base + found.end)
    except SqlTextError as error:
        raise SqlTextError(base + error.offset, str(error)) from None


def _in_literal(token: Token) -> Iterator[Reference]:
    if _WHOLE_LITERAL.fullmatch(token.text):
        yield Reference(token.start + 1, token.start + 1 + len(DEFAULT_SCHEMA), in_literal=True)
    elif found := _WITHIN_LITERAL.search(token.text):
        raise SqlTextError(
            token.start + found.start(),
            f"{DEFAULT_SCHEMA}. stands here in a literal, which has one meaning only for a schema of that name; "
            "put SQL between dollar quotes, or write prose as E'…'",
        )


def _is_the_name(token: Token) -> bool:
    return token.is_word(DEFAULT_SCHEMA) or (token.kind is Kind.QUOTED_NAME and token.text == f'"{DEFAULT_SCHEMA}"')


def _place_after(place: _Place, token: Token) -> _Place:
    if place is _Place.BEFORE_NAME and token.kind is not Kind.OTHER:
        return place if token.is_word("if", "not", "exists") else _Place.AFTER_NAME
    if place is _Place.AFTER_NAME and token.text == ",":
        return _Place.BEFORE_NAME
    if token.is_word("schema") or (place is _Place.AFTER_PATH and (token.text == "=" or token.is_word("to"))):
        return _Place.BEFORE_NAME
    return _Place.AFTER_PATH if token.is_word("search_path") else _Place.ANYWHERE
