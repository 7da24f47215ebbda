"""A supervision tree of asyncio actors: the public names, and nothing else.

They are loaded when first used: `python -m supervisor --help` and tools that only look at the package
need not wait for asyncio and the whole tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.app import App
    from supervisor.errors import Ignore, Stop
    from supervisor.tree.actor import Actor
    from supervisor.tree.backoff import Backoff
    from supervisor.tree.child import Child, Drain, OnStall, Restart
    from supervisor.tree.dynamic import DynamicSupervisor
    from supervisor.tree.inbox import Inbox
    from supervisor.tree.latest import Latest
    from supervisor.tree.mailbox import Mailbox, Overflow
    from supervisor.tree.monitor import Down
    from supervisor.tree.refs import ActorRef, Reply
    from supervisor.tree.signal import Signal
    from supervisor.tree.strategy import AutoShutdown, Strategy
    from supervisor.tree.supervisor import Supervisor

_HOMES = {
    "Actor": "tree.actor",
    "ActorRef": "tree.refs",
    "App": "app",
    "AutoShutdown": "tree.strategy",
    "Backoff": "tree.backoff",
    "Child": "tree.child",
    "Down": "tree.monitor",
    "Drain": "tree.child",
    "DynamicSupervisor": "tree.dynamic",
    "Ignore": "errors",
    "Inbox": "tree.inbox",
    "Latest": "tree.latest",
    "Mailbox": "tree.mailbox",
    "OnStall": "tree.child",
    "Overflow": "tree.mailbox",
    "Reply": "tree.refs",
    "Restart": "tree.child",
    "Signal": "tree.signal",
    "Stop": "errors",
    "Strategy": "tree.strategy",
    "Supervisor": "tree.supervisor",
}

__all__ = [
    "Actor",
    "ActorRef",
    "App",
    "AutoShutdown",
    "Backoff",
    "Child",
    "Down",
    "Drain",
    "DynamicSupervisor",
    "Ignore",
    "Inbox",
    "Latest",
    "Mailbox",
    "OnStall",
    "Overflow",
    "Reply",
    "Restart",
    "Signal",
    "Stop",
    "Strategy",
    "Supervisor",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'supervisor' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as late as the rest

    found: object = getattr(import_module(f"supervisor.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
