"""Whom a supervisor restarts with a child that failed, and which ends are its own end."""

from __future__ import annotations

import enum


class Strategy(enum.Enum):
    """Whom a supervisor restarts when one child fails."""

    ONE_FOR_ONE = "one_for_one"
    """That child."""
    ONE_FOR_ALL = "one_for_all"
    """All children: the rest stop in reverse order, then all start in order."""
    REST_FOR_ONE = "rest_for_one"
    """That child and those started after it."""


class AutoShutdown(enum.Enum):
    """When a supervisor ends because its significant children have ended by themselves."""

    NEVER = "never"
    ANY = "any"
    ALL = "all"
