"""A mailbox that is part of a tree, and what becomes of what is put into it."""

from __future__ import annotations

import asyncio

from supervisor.tree.events import DeadLetter, DeadLetterReason, Event
from supervisor.tree.inbox import EMPTY, Inbox
from supervisor.tree.mailbox import Envelope, Mailbox, Overflow
from supervisor.tree.refs import Reply
from supervisor.tree.runtime import Runtime


class Letters:
    """A runtime's subscriber that keeps every dead letter, beyond the hundred that the runtime keeps."""

    def __init__(self) -> None:
        self.all: list[DeadLetter] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, DeadLetter):
            self.all.append(event)

    @property
    def pairs(self) -> list[tuple[object, DeadLetterReason]]:
        return [(letter.message, letter.reason) for letter in self.all]


def opened(capacity: int = 2, overflow: Overflow = Overflow.WAIT) -> tuple[Mailbox[object], Letters]:
    """Make a mailbox that is part of a tree."""
    runtime, letters = Runtime(), Letters()
    runtime.subscribe(letters)
    mailbox: Mailbox[object] = Mailbox("m", capacity, overflow)
    mailbox.open("root/m", runtime)
    return mailbox, letters


def request() -> tuple[Envelope, asyncio.Future[object]]:
    """Make a request whose answer nobody awaits yet."""
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    return Envelope("request", Reply(future), None), future


def everything(mailbox: Mailbox[object]) -> list[object]:
    """Read all that can be read now."""
    return list(iter(Inbox(mailbox).take, EMPTY))
