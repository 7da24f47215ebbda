"""The command `tokens` with a database: a token is shown once, and ends when somebody says so."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from supervisor.process.exit_code import ExitCode
from supervisor.store.link import connect
from supervisor.store.tokens import TokenScope, public_id
from supervisor.web.identity import identify
from tests.process.command_line import CommandLine, command_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from supervisor.web.identity import Identity

WHY = ("--reason", "a test")


@pytest.fixture
async def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line with a database."""
    async with command_line(tmp_path, monkeypatch, capsys) as opened:
        yield opened


async def identity(line: CommandLine, token: str) -> Identity | None:
    """Say who shows this token."""
    link = await connect(line.dsn)
    try:
        return await identify(link, token)
    finally:
        await link.close()


async def test_a_token_is_made_shown_and_revoked(line: CommandLine) -> None:
    """The token alone is on standard output, opens what it should, is listed without its secret, and ends."""
    made = await line("tokens", "create", "ci", "--role", "operator", "--scope", "jobs:read", "--tenant", "acme", *WHY)
    assert made.code == 0
    token = made.out.removesuffix("\n")
    public = public_id(token)
    assert public is not None
    assert token not in made.err
    found = await identity(line, token)
    assert found is not None
    assert (found.name, found.tenants, found.scopes) == ("ci", frozenset({"acme"}), frozenset({TokenScope.JOBS_READ}))
    listed = await line("tokens")
    assert all(word in listed.out for word in ("ci", public, "operator", "jobs:read", "tenant=acme"))
    assert token[17:] not in listed.out
    (document,) = (await line("tokens", "list", "--json")).json
    assert (document["id"], document["state"], document["tenants"]) == (public, "valid", ["acme"])
    ended = await line("tokens", "revoke", public, *WHY)
    assert (ended.code, ended.out) == (0, f"{public} is revoked\n")
    assert await identity(line, token) is None
    assert "no tokens" in (await line("tokens")).out
    assert "revoked" in (await line("tokens", "list", "--all")).out
    again = await line("tokens", "revoke", public, *WHY, "--json")
    assert (again.code, again.json) == (1, [{"id": public, "revoked": False}])


async def test_who_did_it_is_on_record(line: CommandLine) -> None:
    """The audit log names the person, the reason and the way, and not the secret."""
    made = await line("tokens", "create", "ci", "--role", "viewer", "--valid", "12h", *WHY, "--json")
    assert made.json["token"].startswith(f"sup_{made.json['id']}_")
    entry = await line.value("SELECT row_to_json(item)::text FROM supervisor.system_audit_log AS item")
    assert all(word in entry for word in ('"create_token"', '"a test"', "command line", "@", made.json["id"]))
    assert made.json["token"][17:] not in entry


async def test_a_token_goes_into_a_file(line: CommandLine) -> None:
    """A file that only its owner can read has the token, standard output has not, and no file is written over."""
    path = line.folder / "token"
    made = await line("tokens", "create", "ci", "--role", "viewer", "--to", str(path), *WHY)
    assert (made.code, made.out) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await identity(line, path.read_text(encoding="ascii").strip()) is not None
    again = await line("tokens", "create", "other", "--role", "viewer", "--to", str(path), *WHY)
    assert again.code == ExitCode.USAGE
    assert len((await line("tokens", "list", "--json")).json) == 1


async def test_a_file_that_cannot_be_written(line: CommandLine) -> None:
    """If the token cannot be handed over, the command says which one is to be revoked."""
    made = await line("tokens", "create", "ci", "--role", "viewer", "--to", "nowhere/token", *WHY)
    assert made.code == 1
    ((document),) = (await line("tokens", "list", "--json")).json
    assert f"token {document['id']} is lost" in made.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "ci", "--role", "root", *WHY), "viewer, operator, admin"),
        (("create", "ci", "--role", "viewer", "--scope", "everything", *WHY), "jobs:read"),
        (("create", "ci", "--role", "viewer", "--valid", "soon", *WHY), "no duration"),
        (("create", "ci", "--role", "viewer"), "say why"),
        (("create", "ci", *WHY), "--role"),
        (("revoke", f"sup_{'a' * 12}_{'b' * 43}", *WHY), "between the underscores"),
        (("revoke", "abc"), "say why"),
    ],
)
async def test_a_wrong_command(line: CommandLine, words: tuple[str, ...], says: str) -> None:
    """A mistake is named with its remedy, and no token is made."""
    answer = await line("tokens", *words)
    assert answer.code == ExitCode.USAGE
    assert says in " ".join(answer.err.split())
    assert await line.value("SELECT count(*) FROM supervisor.tokens") == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "ci", "--role", "viewer", "--scope", "tokens:admin", *WHY), "it allows jobs:read"),
        (("create", "ci", "--role", "viewer", "--valid", "0s", *WHY), "days"),
    ],
)
async def test_what_the_database_refuses(line: CommandLine, words: tuple[str, ...], says: str) -> None:
    """What only the database knows to be wrong is told in its words."""
    answer = await line("tokens", *words)
    assert answer.code == ExitCode.CONFIG
    assert says in answer.err
