"""Spans leave for a collector when the standard variables ask for it, and nothing waits for the collector."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider

from supervisor.telemetry import otlp
from supervisor.telemetry.job_spans import job_tracer
from tests.unit.collector import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import TracerProvider as AnyProvider

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[AnyProvider]]:
    """Start without any such variable; list what would have been installed for the whole process."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    providers: list[AnyProvider] = []
    monkeypatch.setattr("opentelemetry.trace.set_tracer_provider", providers.append)
    yield providers
    for provider in providers:
        assert isinstance(provider, TracerProvider)
        provider.shutdown()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    with Collector() as collector:
        yield collector


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of somebody who takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({ENDPOINT: NOWHERE}, True),
        ({TRACES_ENDPOINT: f"{NOWHERE}/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": " otlp , console "}, True),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: NOWHERE}, False),
        ({"OTEL_TRACES_EXPORTER": "", ENDPOINT: ""}, False),
        ({"OTEL_SDK_DISABLED": "True", ENDPOINT: NOWHERE}, False),
        ({"OTEL_SDK_DISABLED": "false", ENDPOINT: NOWHERE}, True),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", ENDPOINT: NOWHERE}, True),
    ],
)
def test_it_is_set_up_when_it_is_asked_for(
    variables: dict[str, str],
    asked: bool,
    installed: list[AnyProvider],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The variables of the OpenTelemetry specification decide, without a word in the log."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    exporting = otlp.set_up()
    assert (exporting is not None) is asked
    assert len(installed) == int(asked)
    assert caplog.messages == []


def test_spans_arrive(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that ended a moment before the flush is with the collector, under the default name of the service."""
    monkeypatch.setenv(ENDPOINT, collector.url)
    exporting = otlp.set_up()
    assert exporting is not None
    tracer = job_tracer(exporting.provider)
    assert tracer is not None
    tracer.start(7, "charge_order", "orders", 1, None, None).end()
    assert exporting.flush()
    assert collector.paths == ["/v1/traces"]
    assert list(collector.spans()) == ["process orders"]
    assert collector.services() == {"supervisor"}


@pytest.mark.parametrize(
    "variables", [{"OTEL_SERVICE_NAME": "shop"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,x=1"}]
)
def test_the_service_can_be_named(
    variables: dict[str, str], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name in the environment goes before the default."""
    for name, value in {**variables, TRACES_ENDPOINT: f"{collector.url}/other"}.items():
        monkeypatch.setenv(name, value)
    exporting = otlp.set_up()
    assert exporting is not None
    exporting.provider.get_tracer("test").start_span("one").end()
    assert exporting.flush()
    assert collector.services() == {"shop"}
    assert collector.paths == ["/other"]


def test_a_black_hole_is_not_waited_for(
    black_hole: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The flush gives up at its limit, and what goes on waiting is no thread that keeps the process alive."""
    monkeypatch.setenv(ENDPOINT, black_hole)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    exporting = otlp.set_up()
    assert exporting is not None
    exporting.provider.get_tracer("test").start_span("one").end()
    assert not exporting.flush(0.1)
    assert caplog.messages == ["the last spans are lost: the collector did not take them within 0.1 s"]
    waiting = [thread for thread in threading.enumerate() if thread.name.startswith(("Otel", "traces-"))]
    assert waiting
    assert all(thread.daemon for thread in waiting)
    for thread in waiting:  # or its attempts would go on behind the tests that follow
        thread.join(20.0)
        assert not thread.is_alive()


def test_an_applications_provider_stays(monkeypatch: pytest.MonkeyPatch, installed: list[AnyProvider]) -> None:
    """Whoever installed a provider before keeps it."""
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    assert otlp.set_up() is None
    assert installed == []


@pytest.mark.parametrize(
    "missing", ["opentelemetry.sdk.resources", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_a_missing_extra_is_named_once(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it is asked for and not installed there is one warning, with the remedy, and no traces."""
    monkeypatch.setenv(ENDPOINT, NOWHERE)
    monkeypatch.setitem(sys.modules, missing, None)
    assert otlp.set_up() is None
    (message,) = caplog.messages
    assert "pip install 'supervisor-runtime[otlp]'" in message
    assert missing in message


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin' is not known here (remedy: otlp, console or none)"),
        ({ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTLP over 'grpc' is not known here"),
        ({ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "(remedy: http/protobuf)"),
        ({ENDPOINT: NOWHERE, "OTEL_SPAN_LINK_COUNT_LIMIT": "few"}, "the OTEL_* variables cannot be used: ValueError"),
    ],
)
def test_a_mistake_costs_the_traces_and_a_warning(
    variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be followed is told in a warning, and nothing is installed."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING):
        assert otlp.set_up() is None
    (message,) = caplog.messages
    assert told in message
