"""A line of a file as the arguments of a job: JSON, or a bare id where the handler's type says what it stands for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - a job reads the types of its arguments at run time
from typing import Any

import msgspec
import pytest

from supervisor.errors import InvalidPayload
from supervisor.jobs.args_lines import LineReader, untyped
from supervisor.jobs.job import Job, job


@dataclass(frozen=True)
class Welcome:
    user_id: int
    language: str = "en"


class Shipment(msgspec.Struct, frozen=True, rename="camel"):
    order_number: str
    express: bool = False


@dataclass(frozen=True)
class Transfer:
    source: str
    target: str


@dataclass(frozen=True)
class Report:
    day: date | None = None


@job()
async def welcome(args: Welcome) -> None:
    """Do nothing."""


@job()
async def ship(args: Shipment) -> None:
    """Do nothing."""


@job()
async def transfer(args: Transfer) -> None:
    """Do nothing."""


@job()
async def report(args: Report) -> None:
    """Do nothing."""


@job()
async def number(args: int) -> None:
    """Do nothing."""


@job()
async def text(args: str) -> None:
    """Do nothing."""


@job()
async def key(args: uuid.UUID) -> None:
    """Do nothing."""


@job()
async def anything(args: Any) -> None:  # noqa: ANN401 - what is tested
    """Do nothing."""


@job()
async def nothing() -> None:
    """Do nothing."""


KEY = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "line", "args"),
    [
        (welcome, '{"user_id": 7}', Welcome(7)),
        (welcome, "7", Welcome(7)),
        (ship, "A-7", Shipment("A-7")),
        (ship, "7", Shipment("7")),
        (ship, "007", Shipment("007")),
        (ship, '"7 \\" 8"', Shipment('7 " 8')),
        (ship, "it's; # not a comment", Shipment("it's; # not a comment")),
        (ship, '7", "express": true, "x": "', Shipment('7", "express": true, "x": "')),
        (ship, '{"orderNumber": "7", "express": true}', Shipment("7", express=True)),
        (transfer, '{"source": "a", "target": "b"}', Transfer("a", "b")),
        (report, "{}", Report()),
        (number, "7", 7),
        (text, "7", "7"),
        (text, "true", "true"),
        (text, '"true"', "true"),
        (key, str(KEY), KEY),
        (anything, "7", 7),
        (anything, "order-7", "order-7"),
        (anything, "[1]", [1]),
        (nothing, "{}", None),
    ],
)
def test_a_line_becomes_the_arguments(kind: Job[Any], line: str, args: object) -> None:
    """JSON is taken as such, and a bare value as the arguments or as their only required field."""
    reader = LineReader.of(kind)
    read = reader.read(line)
    assert read == args
    assert kind.decode(reader.check(read)) == args


@pytest.mark.parametrize(
    ("kind", "line", "path", "reason"),
    [
        (welcome, "seven", "args.user_id", "Expected `int`, got `str`"),
        (welcome, "7, 8", "args.user_id", "Expected `int`, got `str`"),
        (welcome, '{"user_id": 7', "args", "Input data was truncated"),
        (welcome, '"7', "args", "Input data was truncated"),
        (ship, '"7", "express": true, "x": "', "args", "trailing characters"),
        (welcome, "true", "args.user_id", "Expected `int`, got `bool`"),
        (number, "7.5", "args", "Expected `int`, got `float`"),
        (
            transfer,
            "a",
            "args",
            "'a' is a bare value, which stands for the only required field; Transfer requires source",
        ),
        (report, "2026-01-01", "args", "Report requires no field"),
        (nothing, "7", "args", "Expected `object | null`, got `int`"),
        (anything, "[1", "args", "Input data was truncated"),
    ],
)
def test_a_wrong_line_is_refused(kind: Job[Any], line: str, path: str, reason: str) -> None:
    """The error names the place and the reason; a line that begins like JSON is never taken for a text."""
    with pytest.raises(InvalidPayload) as refused:
        LineReader.of(kind).read(line)
    assert refused.value.path == path
    assert reason in refused.value.reason
    assert refused.value.remedy


def test_without_the_job_a_line_is_json() -> None:
    """Where only the kind is known, a bare value could mean anything, and the error says how to make it known."""
    reader = untyped("welcome")
    assert reader.read('{"user_id": 7}') == {"user_id": 7}
    assert reader.read("[7]") == [7]
    for line in ("7", '"7"', "order-7", "x" * 500):
        with pytest.raises(
            InvalidPayload, match=r"is a bare value.*--app module:name, or write a JSON object"
        ) as refused:
            reader.read(line)
        assert len(refused.value.reason) < 150
