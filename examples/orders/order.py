"""What an order is, and where the example's orders stand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = Path(__file__).with_name("orders.jsonl")
"""Three thousand orders, one JSON object on each line; `make_orders.py` made them."""


@dataclass(frozen=True)
class Item:
    """So many pieces of one article, at `cents` each."""

    sku: str
    title: str
    quantity: int
    cents: int


@dataclass(frozen=True)
class Order:
    """An order to be charged: `amount` is in cents."""

    id: str
    customer: str
    items: tuple[Item, ...]
    amount: int
    currency: str


def read(path: Path) -> list[Order]:
    """Read a file of orders."""
    decode = msgspec.json.Decoder(Order).decode
    return [decode(line) for line in path.read_bytes().splitlines()]


def write(path: Path, orders: Iterable[Order]) -> None:
    """Write a file of orders."""
    path.write_bytes(b"".join(msgspec.json.encode(order) + b"\n" for order in orders))


def of_run(orders: Iterable[Order], run: str) -> list[Order]:
    """Give the same orders the ids of one run, so that each run of the example has orders of its own."""
    return [dataclasses.replace(order, id=f"{order.id}.{run}") for order in orders]


def run_of(order_id: str) -> str:
    """Name the run of an order."""
    return order_id.partition(".")[2]
