"""An embedded PostgreSQL for a process that was given no database URL."""

from __future__ import annotations

from supervisor.errors import DatabaseStartFailed, DatabaseStartTimeout
from supervisor.store.embedded.server import EmbeddedPostgres

__all__ = ["DatabaseStartFailed", "DatabaseStartTimeout", "EmbeddedPostgres"]
