"""Cuts SQL into tokens and statements by PostgreSQL's lexical rules; nothing here knows what a statement means.

The rules are those of PostgreSQL's `scan.l` with `standard_conforming_strings` on; where a statement ends is what
psql's `psqlscan.l` says, including the bodies between BEGIN ATOMIC and END.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class SqlTextError(ValueError):
    """A text of SQL breaks a rule; `offset` is where in it."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(problem)
        self.offset = offset


class Kind(Enum):
    """What a token is."""

    SPACE = auto()
    COMMENT = auto()
    WORD = auto()
    """A keyword or a name without quotes."""
    QUOTED_NAME = auto()
    STRING = auto()
    """A plain literal: 'text'."""
    SPECIAL_STRING = auto()
    """A literal, or a name, with a prefix: E'text', U&'text', U&"name", B'01', X'1F', N'text'."""
    DOLLAR_STRING = auto()
    NUMBER = auto()
    OTHER = auto()
    """One character of an operator, or a bracket, a comma, a dot, a semicolon."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text from `start` up to, not including, `end`."""

    kind: Kind
    start: int
    end: int
    text: str

    def is_word(self, *words: str) -> bool:
        """Say whether this is one of these words, which are in lower case; PostgreSQL folds what is not quoted."""
        return self.kind is Kind.WORD and self.text.lower() in words


# Every character beyond ASCII may stand in a name, so `\w` and `\s` of Python would be wrong.
_NAME: Final = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*"
_SPACE: Final = r"[ \t\n\r\f\v]"
_PLAIN: Final = r"'[^']*(?:''[^']*)*'"
_BACKSLASHED: Final = r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'"
# A literal goes on in another line, with nothing but white space and comments between: they are one.
_NEXT_LINE: Final = rf"(?:[ \t\f\v]++|--[^\n\r]*+)*+[\n\r](?:{_SPACE}++|--[^\n\r]*+[\n\r])*+"
_TOKEN: Final = re.compile(
    rf"""
    (?P<SPACE> {_SPACE}+ )
  | (?P<COMMENT> --[^\n\r]* | /\* )
  | (?P<SPECIAL_STRING>
        [eE]{_BACKSLASHED}(?:{_NEXT_LINE}{_BACKSLASHED})*
      | (?:[uU]&|[bBxXnN]){_PLAIN}(?:{_NEXT_LINE}{_PLAIN})*
      | [uU]& "[^"]*(?:""[^"]*)*" )
  | (?P<STRING> {_PLAIN}(?:{_NEXT_LINE}{_PLAIN})* )
  | (?P<QUOTED_NAME> "[^"]*(?:""[^"]*)*" )
  | (?P<DOLLAR_STRING> \$(?:{_NAME})?\$ )
  | (?P<WORD> (?![eE]') {_NAME[:-2]}$]* )
  | (?P<NUMBER> [0-9][0-9A-Za-z_]* )
  | (?P<OTHER> [eE]' | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")


def scan(text: str) -> Iterator[Token]:
    """Yield the tokens of a text; they follow one another without a gap.

    Raises SqlTextError, after the tokens before it, at a quote or a comment that does not end.
    """
    offset = 0
    while found := _TOKEN.match(text, offset):
        kind, end = Kind[found.lastgroup or ""], found.end()
        if kind is Kind.COMMENT and found[0] == "/*":
            end = _comment_end(text, offset)
        elif kind is Kind.DOLLAR_STRING:
            end = text.find(found[0], end) + len(found[0])
            if end < found.end() + len(found[0]):
                raise SqlTextError(offset, f"the text that begins with {found[0]} does not end")
        elif kind is Kind.OTHER and found[0][-1] in {"'", '"'}:
            raise SqlTextError(offset, f"the {found[0][-1]} is never closed")
        yield Token(kind, offset, end, text[offset:end])
        offset = end


def _comment_end(text: str, start: int) -> int:
    """Find the end of a comment; comments nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise SqlTextError(start, "the comment is never closed")


def significant(text: str) -> Iterator[Token]:
    """Yield the tokens that are neither white space nor comments. Raises SqlTextError like `scan`."""
    return (token for token in scan(text) if token.kind not in {Kind.SPACE, Kind.COMMENT})


def statements(text: str) -> list[tuple[Token, ...]]:
    """Return the significant tokens of each statement, without the semicolon; an empty statement is none.

    Raises:
        SqlTextError: a quote or a comment does not end.

    """
    found: list[tuple[Token, ...]] = []
    current: list[Token] = []
    parentheses = blocks = 0
    for token in significant(text):
        if token.text == ";" and parentheses == 0 and blocks == 0:
            found.append(tuple(current))
            current = []
            continue
        current.append(token)
        if token.text in {"(", ")"}:
            parentheses = max(0, parentheses + (1 if token.text == "(" else -1))
        elif token.kind is Kind.WORD and parentheses == 0 and _makes_routine(current):
            blocks += _block_step(token, inside=blocks > 0)
    found.append(tuple(current))
    return [tokens for tokens in found if tokens]


def _makes_routine(tokens: list[Token]) -> bool:
    words = [token.text.lower() for token in tokens[:4] if token.kind is Kind.WORD]
    if words[1:3] == ["or", "replace"]:
        del words[1:3]
    return words[:1] == ["create"] and words[1:2] in (["function"], ["procedure"])


def _block_step(token: Token, *, inside: bool) -> int:
    if token.is_word("begin") or (inside and token.is_word("case")):
        return 1
    return -1 if inside and token.is_word("end") else 0
