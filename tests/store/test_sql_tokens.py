"""Tokens in the database, and who they say stands behind a request."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.errors import StatementRefused
from supervisor.store import tokens
from supervisor.store.link import Link, connect
from supervisor.store.tokens import SCOPES_OF, NewToken, Role, TokenScope, TokenState, public_id
from supervisor.web.identity import Identity, identify
from tests.store.sql_session import schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """Give a link to a database with the schema."""
    async with schema() as dsn:
        opened = await connect(dsn)
        try:
            yield opened
        finally:
            await opened.close()


async def make(link: Link, name: str = "ci", role: Role = Role.OPERATOR, **others: Any) -> NewToken:  # noqa: ANN401 - as `create` takes them
    """Make a token."""
    return await tokens.create(link, name, role=role, actor="ana@ops", reason="a test", **others)


async def test_a_token_opens_what_it_was_made_for(link: Link) -> None:
    """Who shows a token is known by its name, role, scopes and filters."""
    made = await make(link, scopes=[TokenScope.JOBS_READ], tenants=["acme"], queues=["mail"])
    assert await identify(link, made.text) == Identity(
        "ci", Role.OPERATOR, frozenset({TokenScope.JOBS_READ}), made.id, frozenset({"acme"}), frozenset({"mail"})
    )
    whole = await identify(link, (await make(link, "all", Role.ADMIN)).text)
    assert whole is not None
    assert (whole.scopes, whole.tenants, whole.queues) == (frozenset(TokenScope), None, None)


async def test_only_a_digest_is_kept(link: Link) -> None:
    """The secret is in no row of any table, and in no text that shows the token."""
    made = await make(link)
    assert public_id(made.text) == made.id
    assert len(set(made.text[17:])) > 15
    assert await link.fetchval("SELECT digest FROM supervisor.tokens") == hashlib.sha256(made.text.encode()).digest()
    secret = made.text[17:]
    assert secret not in repr(made)
    for table in ("tokens", "token_list", "system_audit_log"):
        rows = await link.fetch(f"SELECT row_to_json(item)::text AS text FROM supervisor.{table} AS item")  # noqa: S608
        assert rows
        assert not any(secret in row["text"] for row in rows)
    assert made.text not in repr(await tokens.of(link, made.id))


async def test_what_opens_nothing(link: Link) -> None:
    """A wrong secret, an unknown id and what is no token at all are all nobody, without a word about which."""
    made, other = await make(link), await make(link, "other")
    crossed = f"sup_{made.id}_{other.text[17:]}"
    wrong = made.text[:-1] + ("A" if made.text[-1] != "A" else "B")
    unknown = f"sup_{'0' * 12}_{made.text[17:]}"
    broken = ["", "sup", "sup__", f"{made.text} ", f" {made.text}", made.text.upper(), made.text + "A", made.text[:-1]]
    strange = [f"sup_{made.id}_{'ü' * 43}", f"sup_{made.id}_{'0' * 42}\n", "\ud800" * 60, "\0" * 60, "x" * 1_000_000]
    for text in (crossed, wrong, unknown, *broken, *strange, made.id, made.text.replace("sup_", "SUP_")):
        assert await identify(link, text) is None


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_token_ends(link: Link, how: str) -> None:
    """A token that is revoked or expired opens nothing from that moment on, and its state says so."""
    made = await make(link)
    assert await identify(link, made.text) is not None
    assert await tokens.any_valid(link)
    if how == "revoked":
        assert await tokens.revoke(link, made.id, actor="ana@ops", reason="left")
        assert not await tokens.revoke(link, made.id, actor="ana@ops", reason="again")
        assert not await tokens.revoke(link, "nobody", actor="ana@ops", reason="x")
    else:
        await link.execute("UPDATE supervisor.tokens SET expires_at = clock_timestamp()")
    assert await identify(link, made.text) is None
    assert not await tokens.any_valid(link)
    assert await tokens.listed(link) == []
    assert [token.state for token in await tokens.listed(link, ended=True)] == [TokenState(how)]


async def test_the_last_use_is_written_to_the_minute(link: Link) -> None:
    """A use is noted, but not each use within a minute; a failed guess is no use."""
    made = await make(link)
    await identify(link, made.text[:-2] + "--")
    assert (await tokens.listed(link))[0].last_used_at is None
    await identify(link, made.text)
    first = (await tokens.listed(link))[0].last_used_at
    assert first is not None
    await identify(link, made.text)
    await tokens.touch(link, made.id)
    assert (await tokens.listed(link))[0].last_used_at == first
    await link.execute("UPDATE supervisor.tokens SET last_used_at = last_used_at - interval '2 min'")
    await identify(link, made.text)
    again = (await tokens.listed(link))[0].last_used_at
    assert again is not None
    assert again >= first


async def test_two_of_a_name(link: Link) -> None:
    """Two tokens of one name work side by side, a third is refused until one of them has ended."""
    first, second = await make(link), await make(link)
    assert await identify(link, first.text) is not None
    assert await identify(link, second.text) is not None
    with pytest.raises(StatementRefused, match="has 2 valid tokens already") as caught:
        await make(link)
    assert caught.value.sqlstate == "55000"
    await tokens.revoke(link, first.id, actor="ana@ops", reason="rotated")
    await make(link)


async def test_two_of_a_name_at_once() -> None:
    """Of many that are made at the same moment exactly two are."""
    async with schema() as dsn:

        async def one() -> bool:
            opened = await connect(dsn)
            try:
                await make(opened)
            except StatementRefused:
                return False
            finally:
                await opened.close()
            return True

        assert sum(await asyncio.gather(*(one() for _ in range(6)))) == 2


async def test_every_change_is_in_the_audit_log(link: Link) -> None:
    """Making and revoking a token leave one entry each, with who, why and what, and a refused attempt leaves none."""
    made = await make(link, tenants=["acme"], source="10.0.0.9", request_id="r1")
    with pytest.raises(StatementRefused):
        await make(link, "")
    await tokens.revoke(link, made.id, actor="bob@ops", reason="left")
    rows = await link.fetch(
        "SELECT action_type, scope, name, actor, reason, before::text, after::text, source, request_id "
        "FROM supervisor.system_audit_log ORDER BY id"
    )
    assert [tuple(row)[:5] for row in rows] == [
        ("create_token", "token", "ci", "ana@ops", "a test"),
        ("revoke_token", "token", "ci", "bob@ops", "left"),
    ]
    after = json.loads(rows[0]["after"])
    assert (after["id"], after["role"], after["tenants"]) == (made.id, "operator", ["acme"])
    assert (rows[0]["source"], rows[0]["request_id"]) == ("10.0.0.9", "r1")
    assert json.loads(rows[1]["before"])["id"] == made.id


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": [TokenScope.TOKENS_ADMIN]}, "scopes: 'tokens:admin'"),
        ({"tenants": []}, "tenants"),
        ({"queues": []}, "queues"),
        ({"days": 0.0}, "days"),
        ({"days": 4000.0}, "days"),
        ({"days": float("nan")}, "days"),
        ({"actor": " "}, "actor"),
        ({"reason": ""}, "reason"),
    ],
)
async def test_a_token_that_cannot_be(link: Link, wrong: dict[str, Any], names: str) -> None:
    """What is wrong with a token is named, and none is made."""
    given: dict[str, Any] = {"name": "ci", "role": Role.OPERATOR, "actor": "ana@ops", "reason": "x", **wrong}
    with pytest.raises(StatementRefused, match=names):
        await tokens.create(link, given.pop("name"), **given)
    assert await tokens.listed(link, ended=True) == []


async def test_python_and_the_database_agree_on_scopes(link: Link) -> None:
    """What a role allows is the same in both, and each role allows more than the one before."""
    for role in Role:
        assert set(await link.fetchval("SELECT supervisor.role_scopes($1)", role.value)) == SCOPES_OF[role]  # type: ignore[call-overload]
    assert SCOPES_OF[Role.VIEWER] < SCOPES_OF[Role.OPERATOR] < SCOPES_OF[Role.ADMIN]


async def test_the_role_bounds_the_scopes(link: Link) -> None:
    """A row that gives more scopes than its role, whoever wrote it, opens no more than the role."""
    made = await make(link, role=Role.VIEWER)
    await link.execute("UPDATE supervisor.tokens SET scopes = '{jobs:read,tokens:admin}'")
    found = await identify(link, made.text)
    assert found is not None
    assert found.scopes == {TokenScope.JOBS_READ}
