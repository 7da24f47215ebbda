"""What tests of steps share: functions to call in them, and a look at what is on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.jobs.context import Connection
    from tests.actors.engine import Engine

STEPS = "SELECT name, place, done, result::text FROM supervisor.job_steps ORDER BY place"


@dataclass
class Order:
    number: int
    lines: tuple[str, ...] = ()


class Calls:
    """Functions for steps, which count their calls."""

    def __init__(self) -> None:
        self.made: list[object] = []

    async def give(self, value: object) -> object:
        """Return the argument."""
        self.made.append(value)
        return value

    async def write(self, connection: Connection, value: object) -> object:
        """Write the argument to the database."""
        self.made.append(value)
        await connection.execute("INSERT INTO effects VALUES ($1)", str(value))
        return value


async def effects(one: Engine) -> list[str]:
    """What is in the table to which steps write."""
    return [row[0] for row in await one.fetch("SELECT what FROM effects ORDER BY 1")]
