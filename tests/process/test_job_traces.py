"""A worker process sends the traces of its jobs, and whoever enqueued them is found in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.trace import TracerProvider

from supervisor import Client
from supervisor.process.exit_code import ExitCode
from tests.process.traced_jobs import failing, in_thread, with_step
from tests.store.postgres import fresh_database
from tests.unit.collector import Collector

if TYPE_CHECKING:
    from tests.process.conftest import Start

APP = "tests.process.traced_jobs:app"


@pytest.mark.timeout(120)
async def test_the_traces_of_jobs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are roots linked to the span `send` of their enqueue, with their steps and calls below them."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    with Collector() as collector:
        async with fresh_database() as dsn:
            environ = {
                "DATABASE_URL": dsn,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            }
            program = start(APP, "--queues", "default", environ=environ, limit=90.0).ready()
            with provider.get_tracer("test").start_as_current_span("request") as request:
                async with Client(dsn) as client:
                    for each in (with_step, in_thread, failing):
                        await client.enqueue(each)
            program.event("job_failed", kind="failing")
            program.until(lambda: collector.spans().keys() >= {"call", "threaded"}, "spans")
            assert program.end() == ExitCode.CLEAN
        runs = [span for span in collector.all_spans() if span.name == "process default"]
        found = collector.spans()
    by_kind = {
        next(a.value.string_value for a in run.attributes if a.key == "supervisor.job.kind"): run for run in runs
    }
    assert set(by_kind) == {"with_step", "in_thread", "failing"}
    for run in runs:
        assert run.parent_span_id == b""
        (link,) = run.links
        assert link.trace_id == request.get_span_context().trace_id.to_bytes(16, "big")
        assert link.span_id != request.get_span_context().span_id.to_bytes(8, "big")
    step = found["step charge"]
    assert step.parent_span_id == by_kind["with_step"].span_id
    assert found["call"].parent_span_id == step.span_id
    assert found["threaded"].parent_span_id == by_kind["in_thread"].span_id
    assert by_kind["failing"].status.code == Status.STATUS_CODE_ERROR
