"""What became of an ask: its error, its dead letter, or a complaint to the loop."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

from supervisor.tree.events import DeadLetter
from tests.unit.puppet import Answering, Please

if TYPE_CHECKING:
    from supervisor.testing import EventLog
    from supervisor.tree.refs import ActorRef


def dead(log: EventLog) -> list[tuple[object, str]]:
    """List the dead letters so far, with their reasons."""
    return [(letter.message, letter.reason.value) for letter in log.of(DeadLetter)]


async def error_of(ref: ActorRef[Please], act: Answering) -> BaseException | None:
    """Ask, and return the error."""
    try:
        await ref.ask(Please, act)
    except Exception as error:  # noqa: BLE001 - the error is the result
        return error
    return None


class Complaints:
    """Collects what reaches the event loop's exception handler."""

    def __init__(self) -> None:
        self.all: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.all.append(str(context["message"])))

    def collect(self) -> list[str]:
        gc.collect()
        return self.all
