"""What the ways in refuse: the error names the field, the value and what it may be, and nothing is enqueued."""

from __future__ import annotations

import asyncpg
import pytest

from tests.store.sql_session import connected, count

LONGEST = 384 * 1024

REFUSED = [
    ("max_attempts => 0", "max_attempts = 0: must be from 1"),
    ("max_attempts => 32768", "max_attempts = 32768: must be from 1"),
    ("priority => 32768", "priority = 32768: must be from -32768"),
    ("priority => -32769", "priority = -32769: must be from -32768"),
    ("run_at => 'infinity'", "run_at = infinity: must be from 1970"),
    ("run_at => '1969-12-31 23:59:59+00'", "run_at = 1969-12-31 .*: must be from 1970"),
    ("run_at => '3000-01-01 00:00+00'", "run_at = 3000-01-01 .*: must be from 1970"),
    ("queue => ''", "queue has 0 characters: it must have 1 to 128"),
    ("queue => repeat('q', 129)", "queue has 129 characters: it must have 1 to 128"),
    ("queue => 'two words'", 'queue = "two words": must be printable characters without spaces'),
    ("queue => E'a\\x7f'", "queue = .*: must be printable"),
    ("tenant => ''", "tenant has 0 characters"),
    ("tenant => repeat('t', 129)", "tenant has 129 characters"),
    ("tenant => E'a\\nb'", r'tenant = "a\\nb": must be printable'),
    ("unique_key => ''", "unique_key has 0 characters"),
    ("unique_key => repeat('k', 513)", "unique_key has 513 characters: .* a hash"),
    ("unique_key => E'a\\tb'", r'unique_key = "a\\tb": must be printable'),
    ("trace_parent => repeat('0', 257)", "trace_parent has 257 characters"),
    (f"args => to_jsonb(repeat('x', {LONGEST}))", "args has 393218 bytes of JSON: .* pass a reference"),
]

ACCEPTED = [
    "max_attempts => 1",
    "max_attempts => 32767",
    "priority => -32768",
    "priority => 32767",
    "run_at => '1970-01-01 00:00+00'",
    "run_at => '2999-12-31 00:00+00'",
    "queue => repeat('\N{SNOWMAN}', 128)",
    "tenant => repeat('\N{SNOWMAN}', 128)",
    "tenant => 'two words'",
    "unique_key => repeat('\N{SNOWMAN}', 512)",
    f"args => to_jsonb(repeat('x', {LONGEST - 2}))",
]


@pytest.mark.parametrize(("argument", "message"), REFUSED)
async def test_what_a_job_may_not_be(argument: str, message: str) -> None:
    """A value that the tables would refuse, or no worker could read, is refused by name before anything is done."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=message):
            await opened.execute(f"SELECT supervisor.enqueue('noop', {argument})")
        assert await count(opened, "jobs") + await count(opened, "jobs_waiting") + await count(opened, "job_keys") == 0


@pytest.mark.parametrize("argument", ACCEPTED)
async def test_what_a_job_may_just_be(argument: str) -> None:
    """The last value on the right side of each bound makes a job."""
    async with connected() as opened:
        await opened.execute(f"SELECT supervisor.enqueue('noop', {argument})")
        assert await count(opened, "jobs") + await count(opened, "jobs_waiting") == 1


async def test_one_bad_job_refuses_its_batch() -> None:
    """The error of a batch says which of its jobs is wrong, and none is enqueued."""
    call = "SELECT supervisor.enqueue_many('{noop,noop,noop}', ARRAY['1', '2', '3']::jsonb[], queues => $1)"
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match='job 2 of 3: queue = "a b"') as refused:
            await opened.execute(call, ["a", "a b", None])
        assert refused.value.hint == "none of the batch was enqueued"
        assert await count(opened, "jobs") == 0
        await opened.execute(call, ["a", "b", None])
        assert await count(opened, "jobs") == 3


async def test_a_batch_has_defaults_for_nulls() -> None:
    """A null in a batch is the default of its field, for the arguments too."""
    async with connected() as opened:
        await opened.execute("SELECT supervisor.enqueue_many('{noop}', ARRAY[NULL]::jsonb[], priorities => '{NULL}')")
        row = await opened.fetchrow("SELECT args, queue, priority, max_attempts FROM supervisor.jobs")
        assert row is not None
        assert tuple(row) == ("{}", "default", 0, 3)


@pytest.mark.parametrize("bound", ["run_at = 'infinity'", "timeout_s = 'NaN'", "timeout_s = 0", "attempts = 3"])
@pytest.mark.parametrize("table", ["jobs", "jobs_waiting"])
async def test_what_would_harm_others_is_refused_by_the_tables(bound: str, table: str) -> None:
    """A row that would fail every claim that meets it cannot be written into a table of live jobs, whatever the way."""
    column, _, value = bound.partition(" = ")
    values = {"kind": "'noop'", "queue": "'q'", "service": "'s'", "args": "'{}'", column: value}
    if table == "jobs_waiting":
        values |= {"reason": "'future'", "due_at": "now()", "id": "1"}
    insert = f"INSERT INTO supervisor.{table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"  # noqa: S608
    async with connected() as opened:
        with pytest.raises(asyncpg.CheckViolationError):
            await opened.execute(insert)
