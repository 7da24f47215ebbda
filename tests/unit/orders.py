"""Arguments for the tests of payloads, and what PostgreSQL makes of them."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from supervisor.jobs.payload import Payload


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass(frozen=True)
class Item:
    name: str
    price: float = 0.0


@dataclass(frozen=True)
class Order:
    items: list[Item]
    count: int = 0
    anything: Any = None
    by_name: dict[str, Item] = field(default_factory=dict)
    row: tuple[int, ...] = ()


def as_jsonb(text: str) -> str:
    """Write JSON as jsonb gives it back: keys sorted, the last of equal ones kept, numbers with all their digits."""

    def written(value: object) -> str:
        match value:
            case dict():
                keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
                return (
                    "{"
                    + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {written(value[key])}" for key in keys)
                    + "}"
                )
            case list():
                return "[" + ", ".join(map(written, value)) + "]"
            case Decimal():
                return format(abs(value) if value == 0 else value, "f")
            case _:
                return json.dumps(value, ensure_ascii=False)

    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("jsonb refuses NUL")
    return written(json.loads(text, parse_float=Decimal))


ANYTHING: Payload[Any] = Payload("any", Any)
ORDER: Payload[Any] = Payload("order", Order)
