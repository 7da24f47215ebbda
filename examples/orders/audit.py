"""Compares what was ordered with what the payment service has in its books."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.orders.screen import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.orders.ledger import Charge
    from examples.orders.order import Order


@dataclass(frozen=True, slots=True)
class Audit:
    """The books, held against the orders. `sums` are cents by currency: what was ordered, and what was taken."""

    orders: int
    once: int
    missing: tuple[str, ...]
    twice: tuple[str, ...]
    unknown: tuple[str, ...]
    wrong: tuple[str, ...]
    receipts_once: int
    sums: tuple[tuple[str, int, int], ...]

    @property
    def is_right(self) -> bool:
        """Whether each order was charged exactly once, with its amount, and has exactly one receipt."""
        faults = (self.missing, self.twice, self.unknown, self.wrong)
        return not any(faults) and self.once == self.receipts_once == self.orders

    def rows(self) -> list[Row]:
        """Write it as a table."""
        counts = (
            ("orders charged exactly once", self.orders, self.once),
            ("orders charged twice or more", 0, len(self.twice)),
            ("orders never charged", 0, len(self.missing)),
            ("charges with a wrong amount", 0, len(self.wrong)),
            ("charges of unknown orders", 0, len(self.unknown)),
            ("orders with exactly one receipt", self.orders, self.receipts_once),
        )
        rows = [Row(name, f"{should:,}", f"{found:,}", should == found) for name, should, found in counts]
        for currency, ordered, taken in self.sums:
            rows.append(Row(f"taken in {currency}", f"{ordered / 100:,.2f}", f"{taken / 100:,.2f}", ordered == taken))
        return rows


def audit(orders: Sequence[Order], charges: Sequence[Charge], receipts: Sequence[str]) -> Audit:
    """Compare the orders of one run with its charges, and with the orders that its receipts are for."""
    known = {order.id: order for order in orders}
    times, receipt_times = Counter(charge.order_id for charge in charges), Counter(receipts)
    ordered, taken = Counter[str](), Counter[str]()
    for order in orders:
        ordered[order.currency] += order.amount
    for charge in charges:
        taken[charge.currency] += charge.amount
    return Audit(
        orders=len(known),
        once=sum(times[name] == 1 for name in known),
        missing=tuple(name for name in known if not times[name]),
        twice=tuple(name for name in known if times[name] > 1),
        unknown=tuple(sorted(times.keys() - known.keys())),
        wrong=tuple(charge.order_id for charge in charges if not _fits(charge, known.get(charge.order_id))),
        receipts_once=sum(receipt_times[name] == 1 for name in known),
        sums=tuple((name, ordered[name], taken[name]) for name in sorted(ordered | taken)),
    )


def _fits(charge: Charge, order: Order | None) -> bool:
    return order is None or (charge.amount, charge.currency) == (order.amount, order.currency)
