"""Enqueues that a limit or a full queue forbids: refused with the time to come back, and nothing half-done."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from supervisor.errors import EnqueueLimited, EnqueueRefused
from supervisor.jobs import enqueuer
from tests.jobs.mailing import Mail, mailing, send, tidy
from tests.store.limiting import move_on, set_limit, states
from tests.store.sql_session import count, session

if TYPE_CHECKING:
    from tests.jobs.mailing import Mailing
    from tests.store.sql_session import Connection

MANY = 2 * enqueuer.COPY_FROM
FULL = """
INSERT INTO supervisor.queue_settings (queue, max_depth) VALUES ('mail', 10);
INSERT INTO supervisor.queue_figures (queue, ready, running, delayed, retrying, paused, limited, blocked, suspects,
                                      completed_1h, failed_1h, sampled, measured_at)
VALUES ('mail', 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, clock_timestamp())"""


async def rows(opened: Connection) -> int:
    """Count everything that an enqueue writes."""
    return await count(opened, "jobs") + await count(opened, "jobs_waiting") + await count(opened, "job_keys")


def mails(number: int) -> list[Mail]:
    """Make arguments."""
    return [Mail(to) for to in range(number)]


async def test_the_third_of_two_is_refused() -> None:
    """The error says which limit, for whom, and after how many seconds it is worth another attempt."""
    async with mailing() as bench:
        await set_limit(bench.sql, "two", amount=2, place="enqueue", service="post", by=["tenant"])
        for _ in range(2):
            await bench.client.enqueue(send, Mail(1), tenant="a")
        with pytest.raises(EnqueueLimited) as refused:
            await bench.client.enqueue(send, Mail(1), tenant="a")
        error = refused.value
        assert (error.limit, error.key) == ("two", "a")
        assert error.retry_after == pytest.approx(60.0, abs=5.0)
        assert str(error).startswith("limit two forbids another job now for a: 2 of 2 are used; try again in 5")
        assert isinstance(error, EnqueueRefused)
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301 - our own
        assert await rows(bench.sql) == 2
        await bench.client.enqueue(send, Mail(1), tenant="b")
        await bench.client.enqueue(send, Mail(1))
        await move_on(bench.sql, 61.0)
        await bench.client.enqueue(send, Mail(1), tenant="a")


@pytest.mark.parametrize("options", [{}, {"unique_key": lambda mail: str(mail.to)}, {"run_at": 60.0}])
async def test_a_batch_goes_in_as_a_whole_or_not_at_all(options: dict[str, Any]) -> None:
    """A batch that is larger than what is left leaves nothing behind, by COPY, with keys or for later."""
    async with mailing() as bench:
        await set_limit(bench.sql, "most", amount=MANY, place="enqueue")
        await bench.client.enqueue(send, Mail(0))
        with pytest.raises(EnqueueLimited, match="no job is enqueued"):
            await bench.client.enqueue_many(send, mails(MANY), **options)
        assert await rows(bench.sql) == 1
        await bench.client.enqueue_many(send, mails(MANY - 1), **options)
        with pytest.raises(EnqueueLimited):
            await bench.client.enqueue(send, Mail(0))


async def test_a_batch_that_can_never_go_in_is_a_mistake() -> None:
    """A batch of more jobs than the limit ever lets in is refused for good."""
    async with mailing() as bench:
        await set_limit(bench.sql, "most", amount=5, place="enqueue")
        with pytest.raises(EnqueueRefused, match="never lets 6 jobs in at once") as refused:
            await bench.client.enqueue_many(send, mails(6))
        assert not isinstance(refused.value, EnqueueLimited)


async def test_a_stream_says_how_far_it_came() -> None:
    """What was enqueued before the refusal stays, and the error says how much that is."""
    async with mailing() as bench:
        await set_limit(bench.sql, "most", amount=15_000, place="enqueue")
        with pytest.raises(EnqueueLimited, match=r"10000 jobs are enqueued .* nothing from args\[10000\] on"):
            await bench.client.enqueue_many(send, iter(mails(20_000)))
        assert await rows(bench.sql) == 10_000


async def test_a_job_that_stands_already_is_not_counted() -> None:
    """An enqueue that finds its unique key taken needs no permit."""
    async with mailing() as bench:
        await set_limit(bench.sql, "two", amount=2, place="enqueue")
        first = await bench.client.enqueue(send, Mail(1), unique_key="0")
        for _ in range(3):
            assert (await bench.client.enqueue(send, Mail(1), unique_key="0")).id == first.id
        again = await bench.client.enqueue_many(send, mails(2), unique_key=lambda mail: str(mail.to))
        assert again.created == 1
        assert (await states(bench.sql, "two"))[""]["granted"] == 2


async def test_a_refusal_in_a_transaction_of_the_caller_ends_it() -> None:
    """Nothing of the transaction is there, and with a savepoint only the enqueue is not."""
    async with mailing() as bench, session(bench.dsn) as conn:
        await set_limit(bench.sql, "one", amount=1, place="enqueue")

        async def both() -> None:
            async with conn.transaction():
                await bench.client.enqueue(send, Mail(1), conn=conn)
                await bench.client.enqueue(send, Mail(2), conn=conn)

        with pytest.raises(EnqueueLimited) as refused:
            await both()
        assert refused.value.limit == "one"
        assert await rows(bench.sql) == 0
        async with conn.transaction():
            await bench.client.enqueue(send, Mail(1), conn=conn)
            with pytest.raises(EnqueueLimited):
                async with conn.transaction():
                    await bench.client.enqueue(send, Mail(2), conn=conn)
        assert await rows(bench.sql) == 1


async def test_plain_sql_gets_the_same_as_an_error_with_json() -> None:
    """Who calls the function itself finds the limit, the key and the seconds in the detail of SV010."""
    async with mailing() as bench:
        await bench.client.offer(tidy)
        await set_limit(bench.sql, "none", amount=0, place="enqueue")
        with pytest.raises(asyncpg.PostgresError) as refused:
            await bench.sql.execute("SELECT supervisor.enqueue('tidy')")
        assert refused.value.sqlstate == "SV010"
        detail = json.loads(str(refused.value.detail))
        assert (detail["limit"], detail["key"]) == ("none", "")
        assert detail["retry_after"] > 0


async def test_a_shadow_refuses_nothing() -> None:
    """A shadow limit at enqueue counts what it would have refused."""
    async with mailing() as bench:
        await set_limit(bench.sql, "two", amount=2, place="enqueue", shadow=True)
        await bench.client.enqueue_many(send, mails(5))
        row = (await states(bench.sql, "two"))[""]
        assert (row["granted"], row["shadowed"]) == (5, 3)


@pytest.mark.parametrize("number", [1, 5, MANY])
async def test_a_full_queue_takes_no_more(number: int) -> None:
    """A queue at its maximum depth refuses one job, some, and what would come by COPY; others do not."""
    async with mailing() as bench:
        await bench.sql.execute(FULL)
        with pytest.raises(EnqueueLimited, match="queue mail is full: 10 jobs wait, and 10 may") as refused:
            await put(bench, number)
        assert refused.value.retry_after == 5.0
        assert refused.value.limit is None
        assert await rows(bench.sql) == 0
        await bench.client.enqueue(send, Mail(1), queue="other")
        await bench.sql.execute("UPDATE supervisor.queue_figures SET ready = 9")
        await put(bench, number)


@pytest.mark.parametrize("number", [1, 5, MANY])
async def test_a_gated_job_goes_behind_its_gate_at_once(number: int) -> None:
    """Whatever the way in, a job that needs a permit to start never lies where the ordinary claim looks."""
    async with mailing() as bench:
        await set_limit(bench.sql, "slow", amount=1, kind="send")
        await put(bench, number)
        assert await count(bench.sql, "jobs") == 0
        lines = await bench.sql.fetch("SELECT DISTINCT reason, line, due_at = 'infinity' FROM supervisor.jobs_waiting")
        assert [tuple(row) for row in lines] == [("limited", '["send", "post", null]', True)]


async def put(bench: Mailing, number: int) -> None:
    """Enqueue so many."""
    if number == 1:
        await bench.client.enqueue(send, Mail(1))
    else:
        await bench.client.enqueue_many(send, mails(number))
