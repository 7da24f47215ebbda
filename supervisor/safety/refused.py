"""What the checks raise: a value that is refused for good, or a name that cannot be looked up now."""

from __future__ import annotations

from supervisor.errors import SupervisorError


class Refused(SupervisorError, ValueError):
    """A value from outside that must not be used: `field` says where it stood, `reason` what is wrong with it.

    No value is quoted: the path of a URL, or a header, may hold somebody's secret. A host is named.
    """

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(field, reason, remedy)  # all of them, so that the error can be pickled
        self.field, self.reason, self.remedy = field, reason, remedy

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}; {self.remedy}"


class Unresolved(SupervisorError):
    """The name of a host could not be looked up in time, or at all; the same check may pass later."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(host, reason)
        self.host, self.reason = host, reason

    def __str__(self) -> str:
        return f"cannot look up {self.host}: {self.reason}"
