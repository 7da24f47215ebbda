"""A process sends its last spans before it ends, and ends without them where nobody takes them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from supervisor.process.exit_code import ExitCode
from tests.unit.collector import Collector

if TYPE_CHECKING:
    from tests.process.conftest import Start

APP = "tests.process.traced:app"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_the_last_spans_are_sent(start: Start) -> None:
    """What was recorded just before the stop signal is with the collector when the process has ended."""
    with Collector() as collector:
        program = start(APP, environ={ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}).ready()
        assert program.end() == ExitCode.CLEAN
        assert list(collector.spans()) == ["set up"]
        assert collector.services() == {"supervisor"}


def test_a_black_hole_does_not_delay_the_exit(start: Start) -> None:
    """A collector that takes the connection and says nothing costs its limit of the shutdown and a warning."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        program = start(APP, environ={ENDPOINT: address, "OTEL_EXPORTER_OTLP_TIMEOUT": "300"}).ready()
        assert program.end() == ExitCode.CLEAN
    program.event("the last spans are lost: the collector did not take them within 2.0 s")


def test_without_a_collector_there_is_not_a_word(start: Start) -> None:
    """A process that is not asked for traces runs the same application, and says nothing about them."""
    program = start(APP).ready()
    assert program.end() == ExitCode.CLEAN
    assert [line for line in program.err.lines if "spans" in line or "traces" in line] == []
