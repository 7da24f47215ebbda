"""What cannot be enqueued is refused before anything is written, with the field, the value and the remedy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.errors import EnqueueRefused, InvalidPayload, NotRunning
from supervisor.jobs.client import Client
from tests.jobs.mailing import Mail, Mailing, anything, mailing, measure, send, tidy

REFUSED_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"priority": 32768}, "priority=32768: must be a whole number from -32768"),
    ({"priority": True}, "priority=True"),
    ({"priority": 1.0}, "priority=1.0"),
    ({"priority": 10**5000}, "priority=int"),
    ({"queue": ""}, "queue has 0 characters"),
    ({"queue": "two words"}, "queue='two words'"),
    ({"queue": "q" * 129}, "queue has 129 characters"),
    ({"queue": "a\0"}, "queue='a\\\\x00'"),
    ({"queue": 7}, "queue=7: must be a text"),
    ({"tenant": ""}, "tenant has 0 characters"),
    ({"tenant": "\ud800"}, "tenant="),
    ({"max_attempts": 0}, "max_attempts=0"),
    ({"max_attempts": 32768}, "max_attempts=32768"),
    ({"max_attempts": 10**5000}, "max_attempts: int cannot be"),
    ({"run_at": datetime(2030, 1, 1)}, r"no time zone; write datetime.now\(timezone.utc\)"),  # noqa: DTZ001 - the point
    ({"run_at": datetime(3000, 1, 1, tzinfo=UTC)}, "before the year 3000"),
    ({"run_at": float("nan")}, "run_at=nan"),
    ({"run_at": float("inf")}, "ten years"),
    ({"run_at": 10**400}, "ten years"),
    ({"run_at": True}, "run_at=True"),
    ({"run_at": "tomorrow"}, "run_at='tomorrow': must be a datetime"),
]
REFUSED_KEYS = [
    ("", "unique_key has 0 characters"),
    ("k" * 513, "unique_key has 513 characters: it must have 1 to 512; pass a hash"),
    ("a\0b", r"unique_key='a\\x00b': contains '\\x00'"),
    ("a\nb", "control character"),
    ("\udc80", "half a surrogate pair"),
    (7, r"unique_key=7: must be a text; pass str\(value\)"),
]
REFUSED_ARGS: list[tuple[Any, Any, str]] = [
    (send, Mail("seven"), r"args.to: Expected `int`"),  # type: ignore[arg-type]
    (send, {"to": 7}, "comes back as Mail"),
    (send, Mail(7, "a\0b"), r"args.text: the text contains NUL"),
    (send, Mail(7, "\ud800"), r"args.text: the text is not Unicode"),
    (send, Mail(7, copies=["x" * 300_000]), "256 KiB"),
    (send, None, "args"),
    (tidy, {}, "takes none"),
    (anything, {"a": [float("nan")]}, r"args.a\[0\]: nan has no place in JSON"),
    (anything, {"a": {1, 2}}, "a set has no place in JSON"),
    (anything, {"a": b"bytes"}, "bytes have no place in JSON"),
    (anything, {1: 2}, "keys of a JSON object are texts"),
    ("send", {"a": object()}, "not JSON"),
    ("send", Mail(7), "comes back as a dict"),
    ("send", {"a": "\0"}, "NUL"),
    ("send", "x" * 300_000, "256 KiB"),
]


def deep() -> object:
    """Nest lists deeper than is allowed."""
    found: object = 1
    for _ in range(70):
        found = [found]
    return found


async def nothing_of(bench: Mailing, *args: Any, match: str, error: type[Exception], **options: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """Check that an enqueue is refused by both methods, and that it left nothing behind."""
    job, given = args
    match = match.replace("args", r"args(\[0\])?")
    key = options.pop("unique_key", None)
    with pytest.raises(error, match=match):
        await bench.client.enqueue(job, given, unique_key=key, **options)
    many: Any = {} if key is None else {"unique_key": lambda _: key}
    with pytest.raises(error, match=match):
        await bench.client.enqueue_many(job, [given], **many, **options)
    async with bench.sql.transaction():
        with pytest.raises(error, match=match):
            await bench.client.enqueue(job, given, unique_key=key, conn=bench.sql, **options)
        assert await bench.count() == 0


async def test_wrong_options_are_refused() -> None:
    """An option that cannot be is named with its value and what it may be, and nothing is written."""
    async with mailing() as bench:
        for options, match in REFUSED_OPTIONS:
            await nothing_of(bench, send, Mail(7), match=match, error=EnqueueRefused, **options)


async def test_wrong_keys_are_refused() -> None:
    """A key that PostgreSQL cannot hold is refused, and nothing is written."""
    async with mailing() as bench:
        for key, match in REFUSED_KEYS:
            await nothing_of(bench, send, Mail(7), match=match, error=EnqueueRefused, unique_key=key)


async def test_wrong_arguments_are_refused() -> None:
    """Arguments that would not come back equal are refused with the place, and nothing is written."""
    async with mailing() as bench:
        for job, args, match in [*REFUSED_ARGS, ("send", deep(), "nested more than 64 deep")]:
            await nothing_of(bench, job, args, match=match, error=InvalidPayload)


@pytest.mark.parametrize("kind", ["", "two words", "k" * 129, 7, None, "a\0"])
async def test_what_is_no_kind_is_refused(kind: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """What cannot be the name of a kind is refused without a question to the database."""
    async with mailing() as bench:
        await nothing_of(bench, kind, {}, match="kind", error=EnqueueRefused)


async def test_an_unknown_kind_is_refused_with_those_that_are_meant() -> None:
    """The name of a kind that nobody offered is refused with names like it, and the remedy."""
    async with mailing() as bench:
        match = "kind='sendd': no worker has ever offered jobs of this kind; did you mean 'send'"
        await nothing_of(bench, "sendd", {}, match=match, error=EnqueueRefused)
        await nothing_of(bench, "quite_another", {}, match="pass the job itself", error=EnqueueRefused)


@pytest.mark.parametrize("number", [1e300, 1e-300])
async def test_what_grows_in_the_database_is_refused(number: float) -> None:
    """A payload that is small as JSON but enormous as jsonb is refused by each way in, and just below it is taken."""
    async with mailing() as bench:
        await nothing_of(bench, measure, [number] * 1_400, match="all their digits", error=InvalidPayload)
        await bench.client.enqueue(measure, [number] * 1_250)
        await bench.client.enqueue_many(measure, [[number] * 1_250] * 2)
        await bench.client.enqueue("anything", {"text": "1e300," * 2_000})
        assert await bench.count() == 4


REFUSING = """
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not on a Sunday' USING ERRCODE = 'invalid_parameter_value', HINT = 'come back tomorrow';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON supervisor.jobs FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""


async def test_what_the_database_refuses_is_no_other_error() -> None:
    """What the schema refuses, for whatever reason, is refused by the client with the same words, by each way in."""
    async with mailing() as bench:
        await bench.sql.execute(REFUSING)
        for conn in (None, bench.sql):
            with pytest.raises(EnqueueRefused, match=r"not on a Sunday; come back tomorrow$"):
                await bench.client.enqueue(send, Mail(7), conn=conn)
            for size in (1, 300):
                with pytest.raises(EnqueueRefused, match=r"not on a Sunday; come back tomorrow; no job is"):
                    await bench.client.enqueue_many(send, [Mail(7)] * size, conn=conn)
        assert await bench.count() == 0


@pytest.mark.parametrize("args", ["text", b"bytes", {"to": 7}, Mail(7), 7, None])
async def test_one_is_not_many(args: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """The arguments of one job are not taken for those of many."""
    async with mailing() as bench:
        with pytest.raises(EnqueueRefused, match="pass a list of them, or call enqueue"):
            await bench.client.enqueue_many("send", args)
        assert await bench.count() == 0


async def test_a_closed_client_says_so() -> None:
    """A client that is not open refuses with the way to open it."""
    client = Client("postgresql://u:secret@nowhere.invalid/d")
    with pytest.raises(NotRunning, match="async with Client"):
        await client.enqueue(send, Mail(7))
    with pytest.raises(NotRunning):
        await client.enqueue_many(send, [Mail(7)])
    with pytest.raises(NotRunning):
        await client.wait(1, 1.0)
    assert "secret" not in repr(client)
