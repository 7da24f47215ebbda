"""The ways in which the embedded PostgreSQL does not start; a wrong setting is a `ConfigError` instead."""

from __future__ import annotations

from supervisor.errors import SupervisorError


class DatabaseStartFailed(SupervisorError):
    """The embedded PostgreSQL did not start, or not stop; the message ends with what the server said last."""


class DatabaseStartTimeout(DatabaseStartFailed, TimeoutError):
    """The embedded PostgreSQL was not ready within its limit."""
