"""Makes `orders.jsonl`: always the same orders, of nobody who exists. `python -m examples.orders.make_orders`."""

from __future__ import annotations

import random

from examples.orders.order import FILE, Item, Order, write

SEED = 20261122
COUNT = 3000
FIRST_ID = 104_000

NAMES = (
    "Ada Brandt", "Amir Haddad", "Ana Moreira", "Bao Nguyen", "Chiara Ricci", "Daniel Okafor", "Elif Yildiz",
    "Emma Larsen", "Femke de Vries", "Grace Mensah", "Hanna Virtanen", "Ioana Popescu", "Jakub Nowak", "Kaori Sato",
    "Lena Fischer", "Liam Byrne", "Lucía Herrera", "Mads Holm", "Maya Cohen", "Nadia Rahman", "Noé Lefèvre",
    "Olga Petrova", "Priya Nair", "Rosa Jiménez", "Sami Korhonen", "Tomás Silva", "Wei Zhang", "Zoë Peeters",
)  # fmt: skip
ARTICLES = (
    ("MUG-01", "Stoneware mug", 1490), ("TEE-04", "T-shirt, organic cotton", 2400), ("LMP-02", "Desk lamp", 5990),
    ("NTB-12", "Dotted notebook A5", 1150), ("BAG-07", "Canvas bag", 1900), ("KTL-03", "Kettle 1.2 l", 4450),
    ("CFE-21", "Coffee beans 500 g", 1380), ("TEA-09", "Green tea 100 g", 890), ("PEN-30", "Fountain pen", 3250),
    ("BLK-05", "Wool blanket", 7900), ("CND-11", "Beeswax candle", 1240), ("PLT-08", "Planter, terracotta", 1675),
    ("KNF-06", "Paring knife", 2890), ("BRD-10", "Cutting board, oak", 3490), ("SCK-15", "Merino socks", 1650),
)  # fmt: skip
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "GBP", "CHF")


def orders(seed: int = SEED, count: int = COUNT) -> list[Order]:
    """Make so many orders; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - made-up data, not secrets
    return [_order(chance, number) for number in range(count)]


def _order(chance: random.Random, number: int) -> Order:
    articles = chance.sample(ARTICLES, chance.choices((1, 2, 3, 4), (50, 30, 15, 5))[0])
    items = tuple(Item(sku, title, chance.choices((1, 2, 3), (80, 15, 5))[0], cents) for sku, title, cents in articles)
    return Order(
        id=f"SO-{FIRST_ID + number}",
        customer=chance.choice(NAMES),
        items=items,
        amount=sum(item.quantity * item.cents for item in items),
        currency=chance.choice(CURRENCIES),
    )


if __name__ == "__main__":
    write(FILE, orders())
    print(f"{FILE}: {COUNT} orders")
