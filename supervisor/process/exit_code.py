"""Say by a number how the process ended, so that systemd, Kubernetes and people can act on it.

The numbers from 64 up are those of BSD's `sysexits.h`; see `ExitCode` for what each one asks of the reader.
"""

from __future__ import annotations

import enum
from typing import assert_never


class ExitCode(enum.IntEnum):
    """Every code the runtime itself ends with; `meaning` is the sentence for logs and documentation.

    A third stop signal ends the process with 128 + the signal's number, as a shell would report it.
    """

    CLEAN = 0
    DEAD_MAN = 1
    """Reserved: the C timer in `deadman` cannot end the process with any other number."""
    USAGE = 2
    NO_START = 69
    GAVE_UP = 70
    ABANDONED = 75
    CONFIG = 78

    @property
    def meaning(self) -> str:
        """One sentence that says what happened."""
        match self:
            case ExitCode.CLEAN:
                text = "Stopped as asked; all work was finished or handed back."
            case ExitCode.DEAD_MAN:
                text = "The dead-man timer ended a process that was blocked or overran its shutdown; stacks on stderr."
            case ExitCode.USAGE:
                text = "The command line was wrong."
            case ExitCode.NO_START:
                text = "An actor could not be set up at the first start; those already started were stopped."
            case ExitCode.GAVE_UP:
                text = "The root supervisor reached its restart limit and gave up after an orderly drain."
            case ExitCode.ABANDONED:
                text = "Stopped, but work that ignored every stage of its stop was left behind; start again."
            case ExitCode.CONFIG:
                text = "The configuration cannot work; nothing was started."
            case _:
                assert_never(self)
        return text
