"""Actors under supervision, and jobs that are never lost: the public names, and nothing else.

They are loaded when first used: `python -m supervisor --help` and tools that only look at the package
need not wait for asyncio and the whole tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.app import App
    from supervisor.errors import EnqueueLimited, Ignore, Stop
    from supervisor.jobs.client import Client
    from supervisor.jobs.context import JobContext
    from supervisor.jobs.enqueued import Enqueued, EnqueuedMany
    from supervisor.jobs.job import Job, job
    from supervisor.jobs.limit import Limit
    from supervisor.jobs.limited import LimitReached
    from supervisor.jobs.outcomes import Discard, Retry, Snooze
    from supervisor.jobs.retry import RetryPolicy
    from supervisor.store.control_rows import SafetyCheck
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
    from supervisor.tree.singletons import Term
    from supervisor.tree.strategy import AutoShutdown, Strategy
    from supervisor.tree.supervisor import Supervisor

_HOMES = {
    "Actor": "tree.actor",
    "ActorRef": "tree.refs",
    "App": "app",
    "AutoShutdown": "tree.strategy",
    "Backoff": "tree.backoff",
    "Child": "tree.child",
    "Client": "jobs.client",
    "Discard": "jobs.outcomes",
    "Down": "tree.monitor",
    "Drain": "tree.child",
    "DynamicSupervisor": "tree.dynamic",
    "EnqueueLimited": "errors",
    "Enqueued": "jobs.enqueued",
    "EnqueuedMany": "jobs.enqueued",
    "Ignore": "errors",
    "Inbox": "tree.inbox",
    "Job": "jobs.job",
    "JobContext": "jobs.context",
    "Latest": "tree.latest",
    "Limit": "jobs.limit",
    "LimitReached": "jobs.limited",
    "Mailbox": "tree.mailbox",
    "OnStall": "tree.child",
    "Overflow": "tree.mailbox",
    "Reply": "tree.refs",
    "Restart": "tree.child",
    "Retry": "jobs.outcomes",
    "RetryPolicy": "jobs.retry",
    "SafetyCheck": "store.control_rows",
    "Signal": "tree.signal",
    "Snooze": "jobs.outcomes",
    "Stop": "errors",
    "Strategy": "tree.strategy",
    "Supervisor": "tree.supervisor",
    "Term": "tree.singletons",
    "job": "jobs.job",
}

__all__ = [
    "Actor",
    "ActorRef",
    "App",
    "AutoShutdown",
    "Backoff",
    "Child",
    "Client",
    "Discard",
    "Down",
    "Drain",
    "DynamicSupervisor",
    "EnqueueLimited",
    "Enqueued",
    "EnqueuedMany",
    "Ignore",
    "Inbox",
    "Job",
    "JobContext",
    "Latest",
    "Limit",
    "LimitReached",
    "Mailbox",
    "OnStall",
    "Overflow",
    "Reply",
    "Restart",
    "Retry",
    "RetryPolicy",
    "SafetyCheck",
    "Signal",
    "Snooze",
    "Stop",
    "Strategy",
    "Supervisor",
    "Term",
    "job",
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
