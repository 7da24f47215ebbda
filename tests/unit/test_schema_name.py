"""How SQL written for the schema `supervisor` becomes SQL for another, and what of it stays as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ConfigError
from supervisor.store.schema_name import DEFAULT_SCHEMA, check_schema, in_schema, references, rename
from supervisor.store.sql_tokens import SqlTextError

CODE, LITERAL = "\ue000", "\ue001"  # where the name stands, in code and in a literal


def filled(template: str, code: str, literal: str) -> str:
    """Put names into the places of a template."""
    return template.replace(CODE, code).replace(LITERAL, literal)


@pytest.mark.parametrize(
    "template",
    [
        f"TABLE {CODE}.jobs",
        f"TABLE {CODE} . jobs",
        f"TABLE {CODE}/* supervisor. */\n-- 'supervisor\n.jobs",
        f"SELECT {CODE}.due(jobs.supervisors, {CODE}.now())",
        f"x {CODE}.jobs%ROWTYPE",
        f"CREATE SCHEMA {CODE}",
        f"CREATE SCHEMA IF NOT EXISTS {CODE} AUTHORIZATION supervisor_owner",
        f'DROP SCHEMA IF EXISTS other, {CODE}, "third" CASCADE',
        f"GRANT USAGE ON SCHEMA {CODE} TO reader, writer",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {CODE} GRANT SELECT ON TABLES TO reader",
        f"COMMENT ON SCHEMA {CODE} IS 'jobs'",
        f"ALTER TABLE {CODE}.jobs SET SCHEMA {CODE}",
        f"SET search_path = {CODE}, pg_temp",
        f"SET LOCAL search_path TO pg_catalog, {CODE}",
        f"CREATE FUNCTION {CODE}.f() RETURNS int LANGUAGE sql SET search_path = {CODE}, pg_temp AS $$SELECT 1$$",
        f"DO $$BEGIN PERFORM {CODE}.f(); END$$",
        f"DO $outer$BEGIN EXECUTE format($q$DROP TABLE {CODE}.%I$q$, 'x'); END$outer$",
        f"SELECT nextval('{LITERAL}.job_ids'), pg_notify('{LITERAL}', 'jobs'), '{LITERAL}.jobs'::regclass",
        f"DO $$BEGIN PERFORM pg_notify('{LITERAL}', ''); END$$",
        f"SET {CODE}.worker = 1; SELECT current_setting('{LITERAL}.worker')",
    ],
)
def test_the_name_is_replaced(template: str) -> None:
    """The schema's name is replaced wherever it means the schema, quoted in code, and nothing else changes."""
    assert in_schema(filled(template, "supervisor", "supervisor"), "order") == filled(template, '"order"', "order")


@pytest.mark.parametrize("name", ["supervisor", "SUPERVISOR", "Supervisor", '"supervisor"'])
def test_every_spelling_of_the_name_is_replaced(name: str) -> None:
    """Upper case and quotes are read as PostgreSQL reads them."""
    assert in_schema(f"TABLE {name}.jobs", "other") == 'TABLE "other".jobs'


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 -- supervisor.jobs, SCHEMA supervisor",
        "SELECT 1 /* supervisor.jobs /* supervisor */ */",
        "SELECT 'supervisor: no job', 'a supervisor', 'supervisors', 'my_supervisor.jobs', 'Supervisor'",
        "SELECT E'supervisor', E'supervisor.jobs', E'see supervisor.jobs', U&'supervisor', n'supervisor'",
        'SELECT "Supervisor".a, "supervisor.jobs", "my supervisor"',
        "SELECT supervisors.a, my_supervisor.b, supervisor_a.c, supervisor$.d",
        "COMMENT ON TABLE a IS $$it's what nobody supervises$$",
        "SELECT schema, a FROM b",
    ],
)
def test_nothing_else_is_touched(text: str) -> None:
    """Comments, prose, literals with a prefix and names that only look alike stay as they are."""
    assert in_schema(text, "other") == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT supervisor FROM a", "supervisor FROM"),
        ("SELECT a.supervisor.b", "supervisor.b"),
        ("GRANT USAGE ON SCHEMA supervisor TO supervisor", "supervisor$"),
        ("CREATE SCHEMA AUTHORIZATION reader, supervisor", "supervisor$"),
        ("SET search_path FROM CURRENT; SELECT supervisor", "supervisor$"),
        ("SELECT schema, supervisor FROM a", "supervisor FROM"),
        ("LISTEN supervisor", "supervisor$"),
        ("DO $$DECLARE supervisor record; BEGIN END$$", "supervisor record"),
        ("DO $$BEGIN EXECUTE $q$SELECT supervisor$q$; END$$", "supervisor[$]q"),
        ("COMMENT ON TABLE supervisor.a IS 'see supervisor.b'", "supervisor.b'"),
        ("SELECT format('DROP TABLE supervisor.%I', a)", "supervisor.%I"),
        ("SELECT 'supervisor.f(int)'::regprocedure", r"supervisor.f\("),
    ],
)
@pytest.mark.parametrize("schema", [DEFAULT_SCHEMA, "other"])
def test_what_is_ambiguous_is_refused(text: str, found: str, schema: str) -> None:
    """What would be right for one name and wrong for another is an error for every name, at its place."""
    with pytest.raises(SqlTextError) as caught:
        in_schema(text, schema)
    assert re.match(found, text[caught.value.offset :])


def test_an_unfinished_text_is_refused() -> None:
    """A quote that does not end is an error, since nobody can tell what is code."""
    with pytest.raises(SqlTextError, match="never closed"):
        in_schema("SELECT 'supervisor.jobs", "other")


def test_prose_between_dollar_quotes_may_have_any_quote() -> None:
    """What stands between dollar quotes need not be SQL; after a quote that does not end nothing is replaced."""
    text = "COMMENT ON TABLE supervisor.a IS $$supervisor.b isn't supervisor.c$$"
    assert in_schema(text, "x") == 'COMMENT ON TABLE "x".a IS $$"x".b isn\'t supervisor.c$$'


@pytest.mark.parametrize("name", ["supervisor", "public", "a", "_a", "a1_b", "order", "x" * 63])
def test_names_that_can_be(name: str) -> None:
    """A name of a-z, 0-9 and _ can be that of the schema, even a keyword."""
    assert check_schema(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a b", 'a"b', "a;b", "a.b", "a-b", "é", "a\n", "x" * 64, "pg_jobs", "information_schema"]
)
def test_names_that_cannot_be(name: str) -> None:
    """A name that would need quotes, or is PostgreSQL's own, is refused with a remedy."""
    with pytest.raises(ConfigError, match=r"(?s)schema = .*remedy: .*supervisor"):
        check_schema(name)


_PROSE = st.text(st.characters(exclude_characters="$" + CODE + LITERAL, exclude_categories=("Cs", "Cc")), max_size=12)
_SPACE = st.sampled_from([" ", "\n", "\t \n"])


@st.composite
def templates(draw: st.DrawFn, depth: int = 2) -> str:
    """Write SQL at random, with the places of the schema's name marked."""
    escaped = _PROSE.map(lambda text: text.replace("'", "''"))
    leaves = [
        st.sampled_from([f"{CODE}.jobs", f"{CODE} . {'supervisors'}", f"{CODE}/* . */.x", f"ON SCHEMA {CODE} TO a"]),
        st.sampled_from([f"DROP SCHEMA IF EXISTS a, {CODE}, b;", f"SET search_path TO a , {CODE};"]),
        st.sampled_from([f"'{LITERAL}',", f"'{LITERAL}.jobs',", f"'{LITERAL}.a_$1',"]),
        st.sampled_from(
            ["supervisors.a", "1.5e3", "$1", "<=", "(a, b)", ";", "IF EXISTS", "SCHEMA;", "'supervisor: ',"]
        ),
        escaped.filter(lambda text: "supervisor" not in text).map(lambda text: f"'{text}',"),
        escaped.map(lambda text: "E'supervisor. {}',".format(text.replace("\\", "\\\\"))),
        _PROSE.map(lambda text: '"supervisor {}"'.format(text.replace('"', '""'))),
        _PROSE.map(lambda text: f"-- supervisor. {text}\n"),
        _PROSE.map(lambda text: "/* supervisor. {} */".format(text.replace("*", "+"))),
    ]
    if depth > 0:
        leaves.append(templates(depth - 1).map(lambda body: f"$b{depth}${body}$b{depth}$"))
    parts = draw(st.lists(st.one_of(leaves), max_size=8))
    return "".join(part + draw(_SPACE) for part in parts)


@given(templates(), st.from_regex(r"[a-z_][a-z0-9_]{0,62}", fullmatch=True).filter(lambda name: name[:3] != "pg_"))
def test_any_text_is_renamed_where_it_names_the_schema_and_nowhere_else(template: str, schema: str) -> None:
    """Whatever stands around it, in comments and quotes, the name is replaced exactly where it is the schema's."""
    text = filled(template, DEFAULT_SCHEMA, DEFAULT_SCHEMA)
    assert in_schema(text, DEFAULT_SCHEMA) == text
    if schema != DEFAULT_SCHEMA:
        assert in_schema(text, schema) == filled(template, f'"{schema}"', schema)


@given(templates(), st.sampled_from(["x", "a_much_longer_name", "supervisor"]))
def test_every_place_leads_back_to_the_original(template: str, schema: str) -> None:
    """Each character of the renamed text that is not the name leads to the same character of the original."""
    text = filled(template, DEFAULT_SCHEMA, DEFAULT_SCHEMA)
    renamed = rename(text, references(text), schema)
    inside = {offset for here, _ in renamed.edits for offset in range(here.start, here.end)}
    for offset, character in enumerate(renamed.text):
        if offset not in inside:
            assert text[renamed.original(offset)] == character
    for here, there in renamed.edits:
        assert renamed.original(here.start) == renamed.original(here.end - 1) == there.start
    assert renamed.original(len(renamed.text)) == len(text)
