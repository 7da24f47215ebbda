"""The lines that were logged, and an error with a traceback to log."""

from __future__ import annotations

import io
import json
from typing import NoReturn

from supervisor.config import LogFormat, LogLevel
from supervisor.telemetry.logs import EventLogger, configure
from supervisor.testing import FakeClock

PATH = "root/shop/mailer"
HIDDEN = "HUSH"


class Output:
    """What was written, and the subscriber that writes it."""

    def __init__(self, level: LogLevel = LogLevel.DEBUG, form: LogFormat = LogFormat.JSON) -> None:
        self.clock = FakeClock()
        self.stream = io.StringIO()
        configure(level, form, self.stream)
        self.write = EventLogger(self.clock.now)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, object]]:
        """Each line as an object, without what every line has."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        for line in lines:
            del line["timestamp"], line["logger"]
        return lines


def _refuse(text: str, card: str) -> NoReturn:
    del card
    raise ValueError(text)


def error(text: str = "no such order") -> ValueError:
    """Return an error that has been raised, beside a variable that nobody may see."""
    card = HIDDEN.lower()
    try:
        _refuse(text, card)
    except ValueError as raised:
        return raised
