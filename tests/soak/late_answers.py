"""Makes the answer of a statement late in a worker, as a network can: it was carried out long before.

`SOAK_LATE=claim:seconds` holds back the answer of the first claim that gives anything, once for each folder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from supervisor.store import jobs
from tests.soak.pause import pause

if TYPE_CHECKING:
    from tests.soak.ledger import Ledger

LATE: Final = "SOAK_LATE"


def hold_back(ledger: Ledger, wanted: str) -> None:
    """Put the delay around a statement, if one is wanted."""
    name, _, seconds = wanted.partition(":")
    if not name:
        return
    statement = getattr(jobs, name)

    async def late(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        answer = await statement(*args, **options)
        if answer and _is_first(ledger):
            ledger.write("late", text=name)
            await pause(float(seconds))
        return answer

    setattr(jobs, name, late)


def _is_first(ledger: Ledger) -> bool:
    try:
        os.close(os.open(ledger.folder / "late", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
