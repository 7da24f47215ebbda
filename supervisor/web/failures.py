"""Turns what the database says into answers that tell a caller what to do, and nothing that may be secret."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from supervisor.web.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.errors import DatabaseUnavailable, StatementRefused

_OURS: Final = "SV"
# What a function of ours refuses by hand: invalid_parameter_value, null_value_not_allowed, program_limit_exceeded.
_BY_HAND: Final = frozenset({"22023", "22004", "54000"})
_STATUS: Final[Mapping[str, tuple[HTTPStatus, str]]] = {
    "SV003": (HTTPStatus.PRECONDITION_FAILED, "epoch_changed"),
    "55000": (HTTPStatus.CONFLICT, "conflict"),
    "SV004": (HTTPStatus.CONFLICT, "held"),
    "SV010": (HTTPStatus.TOO_MANY_REQUESTS, "limited"),
    "SV011": (HTTPStatus.TOO_MANY_REQUESTS, "queue_full"),
}

_log = logging.getLogger(__name__)


def too_slow() -> Refusal:
    """Return the answer to a request that took too long."""
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "too_slow",
        "it took too long and was given up; a change may have been made all the same",
        remedy="look, and ask again",
        retry_after=1,
    )


def too_large(most: int) -> Refusal:
    """Return the answer to a body that is too large."""
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the body has more than {most} bytes", remedy="send less"
    )


def no_database(error: DatabaseUnavailable) -> Refusal:
    """Return the answer while the database is out of reach; where it is stays in the log."""
    doubt = "; the change may have been made all the same" if error.unknown else ""
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "database_unavailable",
        f"the database cannot be asked now{doubt}",
        remedy="ask again soon",
        retry_after=1,
    )


def refused_by_database(error: StatementRefused, request_id: str) -> Refusal:
    """Return the answer to what the database refused: its own words only where they are those of our functions."""
    if error.sqlstate in _STATUS:
        status, code = _STATUS[error.sqlstate]
        return Refusal(status, code, error.message, remedy=error.hint)
    if error.sqlstate.startswith(_OURS) or error.sqlstate in _BY_HAND:
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "refused", error.message, remedy=error.hint)
    _log.error("request %s: the database refused a statement: %s", request_id, error)
    return Refusal(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "the database refused a statement; the log has it under the request's id",
    )
