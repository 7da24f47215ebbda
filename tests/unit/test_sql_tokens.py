"""How SQL is cut into tokens and statements: by PostgreSQL's rules, whatever stands in quotes and comments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.store.sql_tokens import Kind, SqlTextError, Token, scan, significant, statements


def pieces(text: str) -> list[tuple[str, str]]:
    """Scan a text that has no white space outside quotes but between tokens."""
    return [(token.kind.name, token.text) for token in scan(text) if token.kind is not Kind.SPACE]


def texts(text: str) -> list[str]:
    """Cut a text into statements."""
    return [text[tokens[0].start : tokens[-1].end] for tokens in statements(text)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("supervisor", Kind.WORD),
        ("_a$1é", Kind.WORD),
        ("Überjob", Kind.WORD),
        ("a\u00a0b", Kind.WORD),  # a no-break space is a letter to PostgreSQL
        ('"a ""quoted"" name; with -- all"', Kind.QUOTED_NAME),
        ("'it''s; -- no /* comment'", Kind.STRING),
        (r"'a backslash \'", Kind.STRING),
        (r"E'it\'s'", Kind.SPECIAL_STRING),
        (r"e'a \\'", Kind.SPECIAL_STRING),
        ("E'it''s'", Kind.SPECIAL_STRING),
        ("E'one'\n  'still\\'escaped'", Kind.SPECIAL_STRING),
        (r"U&'d\0061t\+000061'", Kind.SPECIAL_STRING),
        ('U&"d\\0061ta"', Kind.SPECIAL_STRING),
        ("B'01'", Kind.SPECIAL_STRING),
        ("x'1F'", Kind.SPECIAL_STRING),
        ("n'text'", Kind.SPECIAL_STRING),
        ("$$it's; $1 -- $$", Kind.DOLLAR_STRING),
        ("$body$ $$ inner $$ $other$ $body$", Kind.DOLLAR_STRING),
        ("$é$ text $é$", Kind.DOLLAR_STRING),
        ("-- to the end; 'of the line", Kind.COMMENT),
        ("/* one /* two */ ' still one */", Kind.COMMENT),
        ("12", Kind.NUMBER),
        ("1e10", Kind.NUMBER),
        ("0x1F", Kind.NUMBER),
        ("1_000", Kind.NUMBER),
        (";", Kind.OTHER),
        ("-", Kind.OTHER),
        ("$", Kind.OTHER),
    ],
)
def test_one_token(text: str, kind: Kind) -> None:
    """A text that is one token to PostgreSQL is one token here, and of its kind."""
    assert pieces(text) == [(kind.name, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b", ["a", ".", "b"]),
        ("a<--x\n1", ["a", "<", "--x", "1"]),
        ("2*/*x*/3", ["2", "*", "/*x*/", "3"]),
        ("date'2000-01-01'", ["date", "'2000-01-01'"]),
        ("a$$b$$", ["a$$b$$"]),  # dollars may stand in a name, but not at its beginning
        ("$1+$2", ["$", "1", "+", "$", "2"]),
        ("--x\ry", ["--x", "y"]),
        ("$a b$ $", ["$", "a", "b$", "$"]),
        ("'a''b''c'", ["'a''b''c'"]),
        ("'a' 'b'", ["'a'", "'b'"]),
        ("'a' /**/\n'b'", ["'a'", "/**/", "'b'"]),
        ("'a' -- c\n -- d\n 'b'", ["'a' -- c\n -- d\n 'b'"]),
        ("U&'a'\n'b'", ["U&'a'\n'b'"]),
    ],
)
def test_several_tokens(text: str, expected: list[str]) -> None:
    """Tokens end where PostgreSQL ends them."""
    assert [found for _, found in pieces(text)] == expected


@pytest.mark.parametrize(
    ("text", "offset", "problem"),
    [
        ("SELECT 'open", 7, "the ' is never closed"),
        (r"SELECT E'open\'", 7, "the ' is never closed"),
        ('SELECT "open', 7, 'the " is never closed'),
        ("SELECT /* open /* closed */", 7, "the comment is never closed"),
        ("SELECT $a$ open $b$", 7, "the text that begins with $a$ does not end"),
        ("SELECT $$", 7, "the text that begins with $$ does not end"),
        ("SELECT $$$", 7, "the text that begins with $$ does not end"),
    ],
)
def test_what_does_not_end(text: str, offset: int, problem: str) -> None:
    """A quote or a comment that does not end is an error at the place where it begins."""
    with pytest.raises(SqlTextError, match=problem.replace("$", r"\$")) as caught:
        list(scan(text))
    assert caught.value.offset == offset


@given(st.text(st.sampled_from("'\"$;-/*()aE\\ \n\ré0.,&uU_"), max_size=40))
def test_nothing_is_lost(text: str) -> None:
    """Whatever a text is, its tokens follow one another without a gap from its first character on."""
    found: list[Token] = []
    broken = False
    try:
        found.extend(scan(text))
    except SqlTextError:
        broken = True
    assert [token.start for token in found] == [0, *(token.end for token in found)][: len(found)]
    assert all(token.text == text[token.start : token.end] != "" for token in found)
    assert broken or "".join(token.text for token in found) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; -- nothing;\n/* ; */ ;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("-- first\nSELECT ';', $$;$$, \";\" /* ; */; SELECT 2 -- last", ["SELECT ';', $$;$$, \";\"", "SELECT 2"]),
        (
            "CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c); SELECT 1",
            ["CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c)", "SELECT 1"],
        ),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
            [
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
                "SELECT 3",
            ],
        ),
        (
            "create or replace procedure p() begin atomic delete from a; end; select 1",
            ["create or replace procedure p() begin atomic delete from a; end", "select 1"],
        ),
        ("BEGIN; SELECT 1; END;", ["BEGIN", "SELECT 1", "END"]),
        ("SELECT 1); SELECT 2", ["SELECT 1)", "SELECT 2"]),
    ],
)
def test_statements(text: str, expected: list[str]) -> None:
    """A statement ends at a semicolon, but not at one in quotes, in parentheses or in the body of a routine."""
    assert texts(text) == expected


def test_significant_tokens() -> None:
    """White space and comments are not significant."""
    assert [token.text for token in significant("a /* b */ -- c\n d")] == ["a", "d"]
