"""What a running supervisor can be told. People use the methods of `Supervisor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.tree.child import Node
    from supervisor.tree.refs import Reply


@dataclass(frozen=True, slots=True)
class AddChild:
    """See `Supervisor.add_child`."""

    reply: Reply[None]
    node: Node


@dataclass(frozen=True, slots=True)
class StopChild:
    """See `Supervisor.stop_child`."""

    reply: Reply[None]
    name: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """See `Supervisor.restart_child`."""

    reply: Reply[None]
    name: str


@dataclass(frozen=True, slots=True)
class RemoveChild:
    """See `Supervisor.remove_child`."""

    reply: Reply[None]
    name: str


Command = AddChild | StopChild | RestartChild | RemoveChild
