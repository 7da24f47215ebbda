"""An application with one span, to be run with and without a collector."""

from __future__ import annotations

from opentelemetry import trace

from supervisor import Actor, App, Child


class Traced(Actor[None]):
    async def setup(self) -> None:
        trace.get_tracer("test").start_span("set up").end()


app = App(actors=[Child("traced", Traced)])
