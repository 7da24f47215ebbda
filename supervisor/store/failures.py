"""Turns what asyncpg and the operating system raise into the few errors that callers know.

`DatabaseUnavailable` is for what may go well later, `StatementRefused` for what will not, `LeaseLost` for a worker
whose lease has run out, `EnqueueLimited` for a job that may go in later. Only the message of the server is kept: its
detail may quote a row, with whatever secret is in the arguments of a job, and the errors that asyncpg makes itself
quote the values that they refuse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import asyncpg
import orjson

from supervisor.errors import DatabaseUnavailable, EnqueueLimited, LeaseLost, StatementRefused

if TYPE_CHECKING:
    from supervisor.errors import SupervisorError

NO_LEASE: Final = "SV001"
"""The SQLSTATE of our own functions for a worker that has no lease."""

NO_PERMIT: Final = frozenset({"SV010", "SV011"})
"""Those of an enqueue that a limit forbids, and of one into a queue that is full."""

READ_ONLY: Final = "25006"

# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, insufficient resources,
# operator intervention (shutdown, cancel, time limits), errors of the system outside PostgreSQL.
_PASSING_CLASSES: Final = frozenset({"08", "53", "57", "58"})
# Read-only server, time limits of a transaction, serialization, deadlock, a lock that was not to be had.
_PASSING: Final = frozenset({READ_ONLY, "25P03", "25P04", "40001", "40P01", "55P03"})
_ARGUMENT: Final = re.compile(r"(invalid input for query argument \$\d+).*?(\([^()]*\))?$")
"""What asyncpg says of a value that does not fit: the place, the value, and between brackets the reason."""

_WRONG_ARGUMENTS: Final = "07001"


def is_passing(sqlstate: str) -> bool:
    """Say whether the same statement may go well at another time."""
    return sqlstate[:2] in _PASSING_CLASSES or sqlstate in _PASSING


def leaves_doubt(error: asyncpg.PostgresError) -> bool:
    """Say whether the statement may have been carried out despite this error: the server, or a pooler, went away.

    Any other error of the server means that it has undone the statement.
    """
    severity = error.severity_en or error.severity or ""
    return severity in {"FATAL", "PANIC"} or (error.sqlstate or "").startswith("08")


def said(error: BaseException) -> str:
    """Return the reason in an error, in one line and without what may be secret."""
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return _line(str(error.args[0])) if error.args else type(error).__name__  # not str(), which adds the detail
    return _line(str(error)) or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)


def refused_by_server(error: asyncpg.PostgresError, *, unknown: bool) -> SupervisorError:
    """Return the error for what the server answered; `unknown` if it may have done its work all the same."""
    state = error.sqlstate or "XX000"
    if state == NO_LEASE:
        return LeaseLost(said(error))
    if state in NO_PERMIT:
        return no_permit(said(error), error.hint, error.detail)
    if isinstance(error, asyncpg.DataError) and not error.message:  # made by asyncpg, and never sent
        found = _ARGUMENT.match(said(error))
        return StatementRefused(state, " ".join(filter(None, found.groups())) if found else "invalid argument")
    if is_passing(state) or isinstance(error, asyncpg.InvalidCachedStatementError):
        return DatabaseUnavailable(f"the database cannot do it now: {said(error)} ({state})", unknown=unknown)
    return StatementRefused(state, said(error), error.hint)


def no_permit(message: str, hint: str | None, detail: str | None) -> EnqueueLimited:
    """Return the error for an enqueue that is forbidden now; its detail, in JSON, is our own function's."""
    facts = orjson.loads(detail or "{}")
    text = f"{message}; {hint}" if hint else message
    return EnqueueLimited(text, float(facts.get("retry_after", 1.0)), facts.get("limit"), facts.get("key"))


def refused_by_asyncpg(error: asyncpg.InterfaceError) -> StatementRefused:
    """Return the error for a statement that never left, since its arguments do not fit."""
    return StatementRefused(_WRONG_ARGUMENTS, said(error))


def not_connected(where: str, error: BaseException) -> SupervisorError:
    """Return the error for an attempt to connect."""
    text = f"cannot connect to the database at {where}: {said(error)}"
    match error:
        case asyncpg.ProtocolViolationError() if "startup parameter" in text:
            # PgBouncer has this state for everything, most of which passes.
            hint = "behind a pooler such as PgBouncer, give the server's own address as direct_database_url"
            return StatementRefused(error.sqlstate or "", text, hint)
        case asyncpg.PostgresError() if not is_passing(error.sqlstate or ""):
            return StatementRefused(error.sqlstate or "", text, error.hint or "correct the URL of the database")
        case asyncpg.InterfaceError():
            return StatementRefused("28000", text, "correct the URL of the database, or the server's rules")
        case _:
            return DatabaseUnavailable(text)


def _line(text: str) -> str:
    return " ".join(text.split())
