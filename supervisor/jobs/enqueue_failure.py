"""Says in an error of an enqueue what is in the database and what is not, and what makes another attempt safe."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.errors import DatabaseUnavailable, EnqueueLimited, EnqueueRefused, InvalidPayload, StatementRefused

WRONG_VALUE = "22023"
"""The SQLSTATE with which our functions refuse a job."""

_KEYED = "with its unique_key the call can be repeated safely"
_KEYLESS = (
    "a job without a unique_key may be enqueued twice if the call is repeated: look for it, or give it a unique_key"
)


@dataclass(frozen=True, slots=True)
class Extent:
    """How far an enqueue of many came: so many are done, and so many more were being written when it failed."""

    done: int
    tried: int
    keyed: bool = False
    on_conn: bool = False


def of_one(error: Exception, *, keyed: bool, on_conn: bool) -> Exception:
    """Return the error of one enqueue; nothing has to be said of a job that certainly is not there."""
    match error:
        case DatabaseUnavailable(unknown=True) if on_conn:
            return DatabaseUnavailable(f"{error}; the job is there if the transaction of conn commits", unknown=True)
        case DatabaseUnavailable(unknown=True):
            return DatabaseUnavailable(f"{error}; the job may be there; {_KEYED if keyed else _KEYLESS}", unknown=True)
        case StatementRefused(sqlstate=state) if state == WRONG_VALUE:
            return EnqueueRefused(_refused(error))
        case _:
            return error


def of_many(error: Exception, extent: Extent) -> Exception:
    """Return the error of an enqueue of many, or the same one with a note if it is none of ours."""
    told = _told(extent, unknown=isinstance(error, DatabaseUnavailable) and error.unknown)
    match error:
        case DatabaseUnavailable():
            return DatabaseUnavailable(f"{error}; {told}", unknown=error.unknown)
        case InvalidPayload(kind=kind, path=path, reason=reason, remedy=remedy):
            return InvalidPayload(kind, path, reason, f"{remedy}; {told}")
        case EnqueueLimited(retry_after=seconds, limit=limit, key=key):
            return EnqueueLimited(f"{error}; {told}", seconds, limit, key)
        case EnqueueRefused():
            return EnqueueRefused(f"{error}; {told}")
        case StatementRefused(sqlstate=state) if state == WRONG_VALUE:
            return EnqueueRefused(f"{_refused(error)}; {told}")
        case StatementRefused(sqlstate=state, message=message, hint=hint):
            return StatementRefused(state, f"{message}; {told}", hint)
        case _:
            error.add_note(told)
            return error


def _refused(error: StatementRefused) -> str:
    return f"the database refuses: {error.message}" + (f"; {error.hint}" if error.hint else "")


def _told(extent: Extent, *, unknown: bool) -> str:
    where = "in the transaction of conn" if extent.on_conn else "enqueued"
    done = f"{extent.done} jobs are {where} (up to args[{extent.done - 1}])" if extent.done else f"no job is {where}"
    if not unknown:
        return f"{done}, nothing from args[{extent.done}] on"
    tried = f"args[{extent.done}] to args[{extent.done + extent.tried - 1}]"
    advice = _KEYED if extent.keyed else "these are there all together, or not at all"
    return f"{done}, {tried} may be, nothing after them; {advice}"
