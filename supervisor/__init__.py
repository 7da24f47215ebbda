"""A supervision tree of asyncio actors: the public names, and nothing else."""

from supervisor.app import App
from supervisor.errors import Ignore, Stop
from supervisor.tree.actor import Actor
from supervisor.tree.backoff import Backoff
from supervisor.tree.child import Child, Drain, OnStall, Restart
from supervisor.tree.dynamic import DynamicSupervisor
from supervisor.tree.inbox import Inbox
from supervisor.tree.keeper import AutoShutdown, Strategy
from supervisor.tree.latest import Latest
from supervisor.tree.mailbox import Mailbox, Overflow
from supervisor.tree.monitor import Down
from supervisor.tree.refs import ActorRef, Reply
from supervisor.tree.signal import Signal
from supervisor.tree.supervisor import Supervisor

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
