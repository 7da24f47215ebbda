"""What goes wrong comes out as one of three errors, which say what the caller needs and no secret."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import asyncpg
import pytest

from supervisor.errors import ConfigError, DatabaseUnavailable, LeaseLost, StatementRefused, SupervisorError
from supervisor.store.dial import Call
from supervisor.store.failures import not_connected
from supervisor.store.link import connect
from supervisor.store.url import Host, read_url
from tests.store.embedded_server import embedded
from tests.store.fault_proxy import Way, proxied
from tests.store.linked import linked, opened, prepared, quiet, until_active, until_gone
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.store.link import Link

CANARY = "k4n4rienvogel"


def raising(state: str) -> str:
    """Write SQL that fails with this state."""
    return f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}', HINT = 'do better'; END $$"


@pytest.mark.parametrize(
    "state",
    ["40001", "40P01", "55P03", "53100", "53200", "53300", "57014", "57P01", "57P03", "25006", "58030"],
)
async def test_what_may_go_well_later(state: str) -> None:
    """Conflicts, a lack of resources and a server that closes are no reason to give up; nothing was carried out."""
    async with linked() as link:
        with pytest.raises(DatabaseUnavailable, match=f"as told.*{state}") as caught:
            await link.execute(raising(state))
        assert not caught.value.unknown


async def test_a_pooler_that_lost_its_server() -> None:
    """An error of the connection, as poolers send it, leaves the work in doubt, and its link is of no more use."""
    async with linked() as link:
        with pytest.raises(DatabaseUnavailable, match="as told") as caught:
            await link.execute(raising("08006"))
        assert caught.value.unknown
        assert link.is_broken


@pytest.mark.parametrize("state", ["SV002", "22023", "23505", "42501", "P0001", "XX000", "0A000"])
async def test_what_is_refused(state: str) -> None:
    """Other errors come with their state, their message and their hint, and the link goes on."""
    async with linked() as link:
        with pytest.raises(StatementRefused) as caught:
            await link.execute(raising(state))
        assert (caught.value.sqlstate, caught.value.message, caught.value.hint) == (state, "as told", "do better")
        assert await link.fetchval("SELECT 1") == 1


async def test_a_worker_without_a_lease() -> None:
    """The state of our own functions for a lease that has run out has an error of its own."""
    async with linked() as link:
        with pytest.raises(LeaseLost, match="as told"):
            await link.execute(raising("SV001"))


@pytest.mark.parametrize("call", ["SELECT 1", "SELECT $1::int, $2::int"])
async def test_a_wrong_number_of_arguments(call: str) -> None:
    """Arguments that do not fit the statement are refused before it is sent, and the link goes on."""
    async with linked() as link:
        with pytest.raises(StatementRefused, match=r"expects . argument"):
            await link.fetch(call, 1)
        assert await link.fetchval("SELECT 1") == 1


async def test_a_result_that_changed_its_type() -> None:
    """A statement whose table was changed under it works again, within a transaction on its next run."""
    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as link:
        rows = "SELECT * FROM supervisor.rows"
        await link.fetch(rows)
        await admin.execute("ALTER TABLE supervisor.rows ADD more int")
        await link.fetch(rows)
        await admin.execute("ALTER TABLE supervisor.rows ADD still_more int")
        with pytest.raises(DatabaseUnavailable):
            async with link.transaction():
                await link.fetch(rows)
        async with link.transaction():
            await link.fetch(rows)


async def test_a_terminated_backend() -> None:
    """A server process that is ended breaks its link, and nobody knows what the statement did."""
    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as idle, linked(dsn) as link:
        work = asyncio.gather(link.fetchval("SELECT pg_sleep(60)"), return_exceptions=True)
        await until_active(admin, link, "pg_sleep(60)")
        await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", [link.server_pid, idle.server_pid]
        )
        (error,) = await work
        assert isinstance(error, DatabaseUnavailable)
        assert "terminating connection due to administrator command" in str(error)
        assert error.unknown
        assert link.is_broken
        await until_gone(admin, idle)
        with pytest.raises(DatabaseUnavailable):
            await idle.fetchval("SELECT 1")
        assert idle.is_broken


async def test_a_connection_lost_under_a_user() -> None:
    """A connection lost in a user's own statement is the same error as in one of ours: nothing was committed."""

    async def work(link: Link) -> None:
        async with link.transaction():
            await link.raw.fetchval("SELECT pg_sleep(60)")

    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as link:
        working = asyncio.gather(work(link), return_exceptions=True)
        await until_active(admin, link, "pg_sleep(60)")
        await admin.fetchval("SELECT pg_terminate_backend($1)", link.server_pid)
        (error,) = await working
        assert isinstance(error, DatabaseUnavailable)
        assert not error.unknown


async def test_a_commit_that_no_standby_confirmed(folder: Path) -> None:
    """A commit whose wait for a standby is cut short is not taken for one that is safe."""
    async with quiet(), embedded(folder) as server, linked(server.dsn) as admin:
        await admin.execute("CREATE TABLE kept (number int); SET synchronous_commit = local")
        await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await admin.fetchval("SELECT pg_reload_conf()")
        async with linked(server.dsn) as link:
            async with asyncio.timeout(LIMIT):
                while await link.fetchval("SELECT current_setting('synchronous_standby_names')") != "nobody":
                    pass
            work = asyncio.gather(link.execute("INSERT INTO kept VALUES (1)"), return_exceptions=True)
            async with asyncio.timeout(LIMIT):
                while not work.done():
                    await admin.fetchval(
                        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'",
                        link.server_pid,
                    )
            (error,) = await work
            assert isinstance(error, DatabaseUnavailable)
            assert "standby" in str(error)
            assert error.unknown
            assert await link.fetchval("SELECT number FROM kept") == 1
            await link.execute("DO $$ BEGIN RAISE WARNING 'of another kind'; END $$")


@pytest.mark.parametrize(
    ("change", "state"),
    [(("/t", "/no_such_"), "3D000"), (("postgres@", "no_such_user@"), "28000")],
)
async def test_a_server_that_does_not_want_us(change: tuple[str, str], state: str) -> None:
    """What only the user can put right is refused at once, with a remedy."""
    async with prepared() as dsn:
        with pytest.raises(StatementRefused) as caught:
            await connect(dsn.replace(*change, 1))
        assert caught.value.sqlstate == state
        assert caught.value.hint


async def test_nobody_is_there() -> None:
    """A server that is not running is out of reach; the error says where."""
    async with quiet():
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1: .*Errno"):
            await connect("postgresql://postgres@127.0.0.1:1/postgres")
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1: .*; .*127\.0\.0\.1:2: "):
            await connect("postgresql://postgres@127.0.0.1:1,127.0.0.1:2/postgres")
        with pytest.raises(DatabaseUnavailable, match="/nowhere: "):
            await connect("postgresql://postgres@/postgres?host=/nowhere&port=1")


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{CANARY}@h/d",
        f"postgresql://u:{CANARY}#1@h/d",
        f"postgresql://u:{CANARY}/1@h/d",
        f"postgresql://u:{CANARY}?1@h/d",
        f"postgresql://u:{CANARY}@1@h/d",
        f"postgresql://u:12?{CANARY}=1@h/d",
        f"postgresql://u:{CANARY}:1@h:1:2/d",
        f"postgresql://u:{CANARY}@[h/d",
        f"postgresql://u:{CANARY}@h:0/d",
        f"postgresql://u:{CANARY}@h:70000/d",
        f"postgresql://u:{CANARY}@h:x/d",
        f"postgresql://u:12/{CANARY}@h/d",
        f"postgresql://u:{CANARY}@h/d?sslmode=perhaps",
        f"postgresql://u:{CANARY}@h/d?target_session_attrs=best",
        f"postgresql:///d?password={CANARY}&host=a,b,c&port=1,2",
        f"host=h password={CANARY}",
        CANARY,
        "",
    ],
)
async def test_a_wrong_url(url: str) -> None:
    """A URL with a mistake is an error that names the setting and the remedy, and quotes nothing."""
    with pytest.raises(ConfigError, match=r"direct_database_url = \*+: .*(?s:.)*remedy") as caught:
        await connect(url, setting="direct_database_url")
    assert CANARY not in trail(caught.value)


def trail(error: BaseException | None) -> str:
    """Write an error as any log could, with those that led to it unless they are set aside."""
    text = ""
    while error is not None:
        text += f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text


async def test_no_secret_comes_out(caplog: pytest.LogCaptureFixture) -> None:
    """A password, or the argument of a statement, stands in no error, no log and no description of an object."""
    caplog.set_level(logging.DEBUG)
    errors: list[SupervisorError] = []
    async with prepared() as dsn, proxied(dsn) as proxy:
        secret = proxy.dsn.replace("postgres@", f"postgres:{CANARY}@")
        in_query = f"{dsn}&password={CANARY}"
        broken = secret.replace("/t", "/no_such_")
        for url in (broken, secret.replace(f":{proxy.port}", ":1"), in_query.replace("/t", "/no_such_")):
            with pytest.raises(SupervisorError) as caught:
                await connect(url)
            errors.append(caught.value)
        async with opened(secret) as database, database.connection() as link, linked(in_query) as other:
            things = [database, link, other, database._pool, Call(url=secret, name="", pooler=False, setting="")]
            text = "".join(map(repr, things))
            await link.execute("CREATE TABLE few (word text CHECK (word = 'x'))")
            for sql in ("INSERT INTO few VALUES ($1)", "SELECT $1::int", "SELECT $1::timestamptz"):
                with pytest.raises(SupervisorError) as caught:
                    await link.execute(sql, CANARY)
                errors.append(caught.value)
            proxy.swallow(Way.DOWN)
            with pytest.raises(DatabaseUnavailable) as caught:
                await link.execute("SELECT $1::text", CANARY, within=0.1)
            errors.append(caught.value)
        with pytest.raises(DatabaseUnavailable) as caught:
            await connect(secret, within=0.1)
        errors.append(caught.value)
    assert CANARY not in text + caplog.text + "".join(map(trail, errors))


def test_a_setting_that_a_pooler_does_not_take() -> None:
    """A server that cannot take what we say in the greeting is most likely a pooler, and the error says what to do."""
    error = not_connected("h:1", asyncpg.ProtocolViolationError("unsupported startup parameter: x"))
    assert isinstance(error, StatementRefused)
    assert "direct_database_url" in str(error)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@db:6000/d", [Host("db", 6000)]),
        ("postgres://db", [Host("db")]),
        ("postgresql:///d", [Host()]),
        ("postgresql://u@a:1,b,[::1]:3/d", [Host("a", 1), Host("b"), Host("::1", 3)]),
        ("postgresql://u@%2Frun%2Fpg:6000/d", [Host("/run/pg", 6000)]),
        ("postgresql://u@/d?host=/run/pg&port=6000", [Host("/run/pg", 6000)]),
        ("postgresql:///d?host=a,b:2&port=1", [Host("a", 1), Host("b", 2)]),
    ],
)
def test_the_hosts_of_a_url(url: str, hosts: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to name hosts is understood, and without a word only a server that takes writes is wanted."""
    monkeypatch.delenv("PGTARGETSESSIONATTRS", raising=False)
    target = read_url(url, "database_url")
    assert list(target.hosts) == hosts
    assert target.attributes == "read-write"
