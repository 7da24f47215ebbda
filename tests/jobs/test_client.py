"""The client: how it is opened, what it says about jobs, and what it can do to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from supervisor.errors import ConfigError, DatabaseUnavailable, NotRunning, StatementRefused
from supervisor.jobs.client import Client
from supervisor.store.migrate import up
from tests.jobs.mailing import Mail, mailing, send, tidy
from tests.store.postgres import fresh_database
from tests.store.sql_session import complete, finish, pairs_of, session

if TYPE_CHECKING:
    from supervisor.store.job_rows import RetriedJob


async def test_the_environment_names_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a DSN the client takes DATABASE_URL, and without that it says what to set."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="pass dsn, or set DATABASE_URL"):
        Client()
    async with fresh_database(up) as dsn:
        monkeypatch.setenv("DATABASE_URL", dsn)
        async with Client() as client:
            assert (await client.enqueue(tidy)).created


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dsn": ""}, "set DATABASE_URL"),
        ({"dsn": 7}, "dsn is a int: must be a text"),
        ({"within": 0}, "within=0"),
        ({"within": "10s"}, "within='10s'"),
        ({"connections": 0}, "connections=0"),
        ({"schema": "Not A Name"}, "Not A Name"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], match: str) -> None:
    """A setting that cannot work is named before anything is connected."""
    with pytest.raises(ConfigError, match=match):
        Client(**{"dsn": "postgresql://h/d"} | options)


async def test_a_database_without_the_schema_says_what_to_run() -> None:
    """A database that was never migrated is refused at the start, with the command."""
    async with fresh_database() as dsn:
        with pytest.raises(StatementRefused, match="python -m supervisor migrate"):
            async with Client(dsn):
                pass


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    """Without a server the client does not open, and says where it looked but never the password."""
    with pytest.raises(DatabaseUnavailable) as failed:
        await Client("postgresql://u:secret@127.0.0.1:1/d").open()
    assert "127.0.0.1:1" in str(failed.value)
    assert "secret" not in str(failed.value)


async def test_a_client_can_be_opened_and_closed_again() -> None:
    """Open and close may come twice, and a closed client can be opened anew."""
    async with fresh_database(up) as dsn:
        client = Client(dsn)
        for _ in range(2):
            await client.open()
            await client.open()
            await client.enqueue(tidy)
            await client.close()
            await client.close()
            with pytest.raises(NotRunning):
                await client.enqueue(tidy)


def test_any_event_loop_will_do() -> None:
    """The client works on asyncio's own event loop, as it does on uvloop."""

    async def use() -> None:
        async with fresh_database(up) as dsn, Client(dsn) as client:
            await client.enqueue_many(send, [Mail(number) for number in range(500)])
            assert (await client.enqueue(tidy)).created

    asyncio.run(use())


async def test_a_schema_of_another_name() -> None:
    """Everything works in a schema of another name, also on the connection of the caller."""
    async with fresh_database() as dsn:
        await up(dsn, schema="queue_2")
        async with Client(dsn, schema="queue_2") as client, session(dsn) as conn:
            made = await client.enqueue(send, Mail(1))
            await client.enqueue(send, Mail(2), conn=conn)
            await client.enqueue_many(send, [Mail(3)] * 2, conn=conn)
            await client.enqueue_many(send, [Mail(4)] * 200)
            assert await conn.fetchval("SELECT count(*) FROM queue_2.jobs") == 204
            shown = await client.show(made.id)
            assert shown is not None
            assert shown.kind == "send"


async def test_a_pooler_may_stand_before_the_database() -> None:
    """With a direct DSN beside it the first may lead through a pooler: nothing is kept in a session."""
    async with fresh_database(up) as dsn, Client(dsn, direct_dsn=dsn, connections=1) as client:
        for number in range(3):
            await client.enqueue(send, Mail(number), unique_key=str(number))
            await client.enqueue_many(send, [Mail(number)] * 150)
        async with session(dsn) as sql:
            assert await sql.fetchval("SELECT count(*) FROM supervisor.jobs") == 453


async def test_a_job_is_shown_until_it_is_forgotten() -> None:
    """A job can be shown from its enqueue on, and what nobody knows is None."""
    async with mailing() as bench:
        made = await bench.client.enqueue(send, Mail(7), tenant="acme", unique_key="k")
        shown = await bench.client.show(made.id)
        assert shown is not None
        assert (shown.status, shown.tenant, shown.unique_key, shown.is_final) == ("pending", "acme", "k", False)
        assert send.decode(shown.args) == Mail(7)
        assert await bench.client.show(999) is None


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_waiting_ends_with_the_job(status: str) -> None:
    """Who waits for a job gets its final state, whether it ends before or meanwhile."""
    async with mailing() as bench:
        made = await bench.client.enqueue(tidy)
        pairs = pairs_of(await bench.claim("tidy"))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(bench.client.wait(made.id, 30.0))
            await asyncio.sleep(0)
            match status:
                case "completed":
                    await complete(bench.sql, pairs)
                case "failed":
                    await finish(bench.sql, pairs, "failed", "it broke")
                case _:
                    assert await bench.client.cancel(made.id, "not wanted")
        assert waiting.result() == status
        assert await bench.client.wait(made.id, 1.0) == status


async def test_waiting_has_an_end() -> None:
    """Who waits for so many seconds is told the state at the end of them, and at once that there is no such job."""
    async with mailing() as bench:
        made = await bench.client.enqueue(tidy, run_at=60)
        with pytest.raises(TimeoutError, match=f"job {made.id} is still pending after 0.05 s"):
            await bench.client.wait(made.id, 0.05)
        with pytest.raises(LookupError, match="job 999: no such job"):
            await bench.client.wait(999, 30.0)
        with pytest.raises(ConfigError, match="within=-1"):
            await bench.client.wait(made.id, -1)


async def test_a_job_is_cancelled_once() -> None:
    """A cancel says whether it ended a job: a job that is over, or was never there, it leaves alone."""
    async with mailing() as bench:
        made = await bench.client.enqueue(tidy)
        assert await bench.client.cancel(made.id, "not wanted")
        assert not await bench.client.cancel(made.id)
        assert not await bench.client.cancel(999)
        shown = await bench.client.show(made.id)
        assert shown is not None
        assert shown.last_error == "not wanted"


async def test_a_job_runs_again_under_its_id() -> None:
    """A retry lets a job that was ended run again, and says what is in the way of another."""
    async with mailing() as bench:
        made = await bench.client.enqueue(send, Mail(7), unique_key="k")
        await bench.client.cancel(made.id)
        other = await bench.client.enqueue(send, Mail(7), unique_key="k")
        taken: RetriedJob = await bench.client.retry(made.id)
        assert taken == (made.id, "key taken")
        await bench.client.cancel(other.id)
        assert (await bench.client.retry(made.id)).problem is None
        assert (await bench.client.retry(made.id)).problem == "live"
        assert [row["id"] for row in await bench.ready()] == [made.id]
        assert (await bench.client.retry(999)).problem == "unknown"
