"""An application whose one job does nothing, for campaigns that count what the runtime itself uses."""

from __future__ import annotations

from supervisor import App, job


@job("note")
async def nothing() -> None:
    """Be done at once."""


app = App(jobs=[nothing])
