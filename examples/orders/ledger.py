"""The books of the payment service, in one SQLite file: what was charged, and which answers were given."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, charged_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS charges_of_order ON charges (order_id);
CREATE TABLE IF NOT EXISTS receipts (
    key TEXT PRIMARY KEY, order_id TEXT NOT NULL, charge_id INTEGER NOT NULL REFERENCES charges
);
"""


@dataclass(frozen=True, slots=True)
class Charge:
    """One entry: so much was taken for an order."""

    id: int
    order_id: str
    amount: int
    currency: str


class KeyReused(Exception):
    """An idempotency key came back with another request."""


class Ledger:
    """Appends charges, each under an idempotency key; one key is one charge.

    An order is charged again if it comes under another key: noticing that is the business of whoever sends it, and
    what the example checks at its end.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        # The journal is flushed to the disk now and then, not at each commit: this file need not survive the machine.
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _TABLES)

    def charge(self, key: str, order_id: str, amount: int, currency: str) -> tuple[Charge, bool]:
        """Charge an order unless its key was seen before; return the charge, and whether it is a new one.

        Raises KeyReused if the key stands for another charge.
        """
        known = self._db.execute("SELECT id, order_id, amount, currency FROM charges WHERE key = ?", [key]).fetchone()
        if known is None:
            row = (key, order_id, amount, currency)
            cursor = self._db.execute("INSERT INTO charges (key, order_id, amount, currency) VALUES (?, ?, ?, ?)", row)
            return Charge(cursor.lastrowid or 0, order_id, amount, currency), True
        charge = Charge(*known)
        if (charge.order_id, charge.amount, charge.currency) != (order_id, amount, currency):
            raise KeyReused(f"key {key} stands for a charge of order {charge.order_id}")
        return charge, False

    def receipt(self, key: str, order_id: str, charge_id: int) -> bool:
        """Send the receipt of a charge unless its key was seen before; return whether it was sent now."""
        row = (key, order_id, charge_id)
        return self._db.execute("INSERT OR IGNORE INTO receipts VALUES (?, ?, ?)", row).rowcount == 1

    def charges(self, run: str) -> list[Charge]:
        """All charges of the orders of one run."""
        query = "SELECT id, order_id, amount, currency FROM charges WHERE order_id LIKE ? ORDER BY id"
        return [Charge(*row) for row in self._db.execute(query, [f"%.{run}"])]

    def receipts(self, run: str) -> list[str]:
        """The orders of one run that have a receipt, one entry for each receipt."""
        return [row[0] for row in self._db.execute("SELECT order_id FROM receipts WHERE order_id LIKE ?", [f"%.{run}"])]

    def close(self) -> None:
        """Write everything down, and close."""
        self._db.close()
