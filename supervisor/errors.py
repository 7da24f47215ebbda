"""Every exception the runtime raises, in one place, so that callers know what to catch.

`Stop` and `Ignore` are not errors: an actor raises them to say what should happen to it.
"""

from __future__ import annotations


class SupervisorError(Exception):
    """Base class of every error raised by this package."""


class ConfigError(SupervisorError):
    """A setting, or a tree, that cannot work; the message names what, its value and the remedy."""


class NotRunning(SupervisorError):
    """The supervisor that should act is not running."""


class UnknownChild(SupervisorError, LookupError):
    """No child of that name exists under this supervisor."""


class ChildExists(SupervisorError):
    """A child of that name exists already under this supervisor."""


class TooManyChildren(SupervisorError):
    """The dynamic supervisor is at its `max_children`."""


class ChildBusy(SupervisorError):
    """The child is in a state that forbids the command: running, or waiting to restart."""


class MailboxClosed(SupervisorError):
    """The actor takes no more messages: it is stopping or has stopped for good."""


class MailboxFull(SupervisorError):
    """The mailbox is at its capacity and the caller did not want to wait."""


class ActorCrashed(SupervisorError):
    """The actor crashed while it was handling the request; the cause is chained."""


class AskTimeout(SupervisorError, TimeoutError):
    """No answer came within the limit of the ask."""


class AskCycle(SupervisorError):
    """The ask would wait for an actor that is itself waiting for the asker."""


class StartFailed(SupervisorError):
    """A child failed before it was running; the cause is chained."""


class StartTimeout(SupervisorError, TimeoutError):
    """`setup` took longer than the child's `start_timeout`."""


class TeardownTimeout(SupervisorError, TimeoutError):
    """`teardown` took longer than the child's `teardown_timeout` and was cut short."""


class GaveUp(SupervisorError):
    """A supervisor reached its restart limit and stopped its children."""


class Unstoppable(SupervisorError):
    """A child survived every stage of its stop; only the end of the process can end it."""


class UnexpectedCancel(SupervisorError):
    """A task of the tree was cancelled by code other than its supervisor."""


class DatabaseStartFailed(SupervisorError):
    """The embedded PostgreSQL did not start, or not stop; the message ends with what the server said last."""


class DatabaseStartTimeout(DatabaseStartFailed, TimeoutError):
    """The embedded PostgreSQL was not ready within its limit."""


class DatabaseUnavailable(SupervisorError):
    """The database cannot be reached, or did not answer in time; the same call may succeed later.

    `unknown`: the statement was under way, so that it may have been carried out all the same.
    """

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class StatementRefused(SupervisorError):
    """The database refused a statement: `sqlstate` is its five-character code, `hint` its remedy if it gave one."""

    def __init__(self, sqlstate: str, message: str, hint: str | None = None) -> None:
        super().__init__(sqlstate, message, hint)  # all of them, so that the error can be pickled
        self.sqlstate, self.message, self.hint = sqlstate, message, hint

    def __str__(self) -> str:
        return f"{self.message} ({self.sqlstate})" + (f"; {self.hint}" if self.hint else "")


class LeaseLost(SupervisorError):
    """The job is no longer this run's: somebody stopped it, or its worker was taken for dead. Nothing was written."""


class StepMismatch(SupervisorError):
    """A handler asks for other steps than an earlier run of the job recorded; its results cannot be replayed."""


class StepUnresolved(SupervisorError):
    """An `at_most_once` step was begun by a run that never said how it ended; a person has to say it."""


class EnqueueRefused(SupervisorError, ValueError):
    """A job that cannot be enqueued; the message names the field, the value and the remedy. Nothing was written."""


class EnqueueLimited(EnqueueRefused):
    """A limit, or the depth of its queue, forbids the enqueue now; nothing was written, and it may go well later.

    `retry_after`: seconds after which it is worth another attempt. `limit` and `key`: what was used up, None for a
    queue that is full.
    """

    def __init__(self, message: str, retry_after: float, limit: str | None = None, key: str | None = None) -> None:
        super().__init__(message, retry_after, limit, key)  # all of them, so that the error can be pickled
        self.message, self.retry_after, self.limit, self.key = message, retry_after, limit, key

    def __str__(self) -> str:
        return self.message


class Stop(Exception):
    """Raised by an actor to end normally from any depth; its restart policy decides what follows."""


class Ignore(Exception):
    """Raised in `setup` by an actor that does not want to run; the child stays declared."""


class MigrationError(SupervisorError):
    """The schema of the database does not fit the code, or cannot be changed; the message has the remedy.

    `transient` means that nothing is wrong but the moment: the database is out of reach, busy, or was too slow, and
    the same attempt may succeed later.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class InvalidPayload(SupervisorError, ValueError):
    """Arguments that cannot be stored, or that the handler cannot take.

    `kind` is the job's, `path` the place (`args.items[3].name`), `reason` what is wrong there and `remedy` what to do.
    """

    def __init__(self, kind: str, path: str, reason: str, remedy: str) -> None:
        super().__init__(kind, path, reason, remedy)  # all of them, so that the error can be pickled
        self.kind, self.path, self.reason, self.remedy = kind, path, reason, remedy

    def __str__(self) -> str:
        return f"job {self.kind!r}: {self.path}: {self.reason}; {self.remedy}"
