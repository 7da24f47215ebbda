"""Any arguments that are accepted reach the handler as they were; the others leave no trace."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import hypothesis
import hypothesis.strategies as st
import pytest
import uvloop

from supervisor.errors import InvalidPayload
from supervisor.jobs import enqueuer
from supervisor.jobs.job import job
from supervisor.jobs.payload_lines import PayloadLines
from tests.jobs.mailing import Mail, mailing, send, tidy
from tests.store.sql_session import session
from tests.unit.orders import ANYTHING, ORDER, Item, Order
from tests.unit.test_payload import CLEAN, DIRTY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.jobs.job import Job
    from supervisor.jobs.payload import Payload
    from tests.jobs.mailing import Mailing
    from tests.store.sql_session import Connection

ORDERS: Final = st.builds(
    Order,
    st.lists(st.builds(Item, st.text(), st.floats()), max_size=3),
    st.integers(),
    DIRTY,
    st.dictionaries(st.text(max_size=3), st.builds(Item, st.text(), st.floats()), max_size=2),
    st.lists(st.integers(), max_size=3).map(tuple),
)
WAYS: Final = st.sampled_from(["one", "many", "copied", "stream", "on conn", "many on conn"])


@job()
async def any_json(args: Any) -> None:  # noqa: ANN401 - the point
    """A handler of whatever JSON can hold."""


@job()
async def order(args: Order) -> None:
    """A handler of a record."""


@dataclass
class Bench:
    """One database for all examples."""

    runner: asyncio.Runner
    mailing: Mailing
    conn: Connection

    async def comes_back(self, handler: Job[Any], value: object, way: str) -> None:
        """Enqueue a value, claim the job and decode what the claim gives."""
        await self.mailing.sql.execute("TRUNCATE supervisor.jobs")
        try:
            await self._enqueue(handler, value, way)
        except InvalidPayload:
            assert await self.mailing.count() == 0
            return
        rows = await self.mailing.claim(handler.kind)
        assert len(rows) == (3 if way in {"many", "copied", "stream", "many on conn"} else 1)
        for row in rows:
            assert handler.decode(row["args"]) == value

    async def _enqueue(self, handler: Job[Any], value: object, way: str) -> None:
        client, conn = self.mailing.client, self.conn
        match way:
            case "one":
                await client.enqueue(handler, value)
            case "many":
                await client.enqueue_many(handler, [value] * 3)
            case "copied":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(enqueuer, "COPY_FROM", 1)
                    await client.enqueue_many(handler, [value] * 3)
            case "stream":
                await client.enqueue_many(handler, iter([value] * 3))
            case "on conn":
                await client.enqueue(handler, value, conn=conn)
            case _:
                await client.enqueue_many(handler, [value] * 3, conn=conn)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Give a database, and the loop that it is used from."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        try:
            opened = runner.run(stack.enter_async_context(mailing()))
            conn = runner.run(stack.enter_async_context(session(opened.dsn)))
            yield Bench(runner, opened, conn)
        finally:
            runner.run(stack.aclose())


@hypothesis.given(value=CLEAN | DIRTY, way=WAYS)
def test_any_json_comes_back_equal_or_is_refused(bench: Bench, value: object, way: str) -> None:
    """What is accepted comes equal out of a claim, by whatever way it went in; what is refused writes nothing."""
    bench.runner.run(bench.comes_back(any_json, value, way))


@hypothesis.given(value=ORDERS, way=WAYS)
def test_any_record_comes_back_equal_or_is_refused(bench: Bench, value: Order, way: str) -> None:
    """The same holds for a record, whatever its fields are filled with."""
    bench.runner.run(bench.comes_back(order, value, way))


@hypothesis.given(st.lists(CLEAN | DIRTY | ORDERS, max_size=4), st.sampled_from([ANYTHING, ORDER]))
def test_many_at_once_are_written_as_one_by_one(values: list[Any], payload: Payload[Any]) -> None:
    """What is encoded at once is what the payload writes for each, and is left to it where it refuses one."""
    found = PayloadLines(payload).encode(values)
    try:
        expected = [payload.encode(value) for value in values]
    except InvalidPayload:
        assert found is None
        return
    assert found is None or found == expected


@pytest.mark.parametrize(
    ("payload", "values", "quick"),
    [
        (send.payload, [Mail(1, 'a\\"\n\u2028ä𝄞'), Mail(2)], True),
        (ANYTHING, [{"a": [1, 2.5, None]}, "x", 7], True),
        (ANYTHING, [1e15, 1e22], False),
        (ANYTHING, ["\\u0000"], False),
        (ANYTHING, [[[]] * 40], True),
        (ANYTHING, [[[]] * 80], False),
        (ANYTHING, ["x" * 70_000], False),
        (ANYTHING, [(1, 2)], False),
        (send.payload, [Mail(1), None], False),
        (tidy.payload, [None, None], False),
    ],
)
def test_only_what_needs_a_closer_look_gets_one(payload: Payload[Any], values: list[Any], quick: bool) -> None:
    """Ordinary arguments are encoded at once; those that may be wrong, or cannot be told, are not."""
    found = PayloadLines(payload).encode(values)
    assert (found is not None) == quick
    assert found is None or found == [payload.encode(value) for value in values]
