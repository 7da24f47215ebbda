"""Monitors: be told when another actor goes down. There are no links; supervision replaces them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.tree.mailbox import Mailbox
    from supervisor.tree.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Down:
    """An incarnation of the actor at `path` ended; `outcome` is None if none was running."""

    path: str
    outcome: Outcome | None


def watch(watcher: Mailbox[Any], watched: Mailbox[Any]) -> None:
    """Deliver a `Down` to `watcher` whenever an incarnation behind `watched` ends."""
    if watched.watchers is None:
        watched.watchers = {}
    watched.watchers[watcher] = None
    if watcher.watching is None:
        watcher.watching = {}
    watcher.watching[watched] = None
    if not watched.alive:
        watcher.put_control(Down(watched.path, watched.last_outcome))


def forget_watchers(mailbox: Mailbox[Any]) -> None:
    """The actor behind `mailbox` will never run again: nobody need remember to watch it."""
    for watcher in tuple(mailbox.watchers or ()):
        if watcher.watching is not None:
            watcher.watching.pop(mailbox, None)
    mailbox.watchers = None


def report_down(mailbox: Mailbox[Any], outcome: Outcome) -> None:
    """Tell those who watch, and stop watching others: monitors live as long as the incarnation."""
    mailbox.last_outcome = outcome
    for watcher in tuple(mailbox.watchers or ()):
        watcher.put_control(Down(mailbox.path, outcome))
    for watched in tuple(mailbox.watching or ()):
        if watched.watchers is not None:
            watched.watchers.pop(mailbox, None)
    mailbox.watching = None
