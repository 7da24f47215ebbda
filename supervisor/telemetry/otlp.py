"""Sends the spans of this process to a collector, when the standard OTEL_* variables ask for it.

Everything else that those variables can say (headers, certificates, sampler, batch sizes) is read by OpenTelemetry's
SDK, which the extra `otlp` installs. Nothing of it is loaded unless it was asked for. A mistake costs the traces and
a warning, never the work.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH: Final = 2.0
"""Seconds in which the last spans must be gone when the process ends. The SDK itself would wait 30 s."""
SERVICE: Final = "supervisor"
EXPORTERS: Final = ("otlp", "console")
_PROTOCOL: Final = "http/protobuf"
_REMEDY: Final = "pip install 'supervisor-runtime[otlp]'"

_log = logging.getLogger(__name__)


def set_up() -> Exporting | None:
    """Install a tracer provider for the whole process if the environment asks for one; None if nothing was installed.

    A provider that is installed already, by the application or by auto-instrumentation, stays as it is.
    """
    names = list(_asked())
    if not names or _has_provider():
        return None
    try:
        provider = _provider(names)
    except ImportError as error:
        _log.warning("no traces are exported: %s is not installed (remedy: %s)", error.name, _REMEDY)
    except Exception as error:  # noqa: BLE001 - whatever the SDK makes of the variables, it must not stop the work
        _log.warning("no traces are exported: the OTEL_* variables cannot be used: %s: %s", type(error).__name__, error)
    else:
        from opentelemetry.trace import set_tracer_provider  # noqa: PLC0415 - only where it was asked for

        set_tracer_provider(provider)
        return Exporting(provider)
    return None


@final
class Exporting:
    """The provider that `set_up` installed."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider

    def flush(self, within: float = FLUSH) -> bool:
        """Send what is left and stop; False if `within` seconds were not enough. To be called once, at the end.

        The collector may be a black hole. What waits for it then is a daemon thread, which keeps no process alive.
        """
        ending = threading.Thread(target=self.provider.shutdown, name="traces-flush", daemon=True)
        ending.start()
        ending.join(max(0.0, within))
        if ending.is_alive():
            _log.warning("the last spans are lost: the collector did not take them within %.1f s", within)
            return False
        return True


def _asked() -> Iterator[str]:
    """Name the exporters that the environment asks for and that there are."""
    if _variable("OTEL_SDK_DISABLED").lower() == "true":
        return
    endpoint = _variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or _variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    wanted = _variable("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "none")
    protocol = _variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or _variable("OTEL_EXPORTER_OTLP_PROTOCOL") or _PROTOCOL
    for name in dict.fromkeys(part.strip() for part in wanted.split(",")):
        if name not in {*EXPORTERS, "none"}:
            _log.warning("OTEL_TRACES_EXPORTER: %r is not known here (remedy: otlp, console or none)", name)
        elif name == "otlp" and protocol != _PROTOCOL:
            _log.warning("no traces are exported: OTLP over %r is not known here (remedy: %s)", protocol, _PROTOCOL)
        elif name != "none":
            yield name


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _has_provider() -> bool:
    if "opentelemetry.trace" not in sys.modules:
        return False
    from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider  # noqa: PLC0415 - is loaded already

    return not isinstance(get_tracer_provider(), ProxyTracerProvider)


def _provider(names: list[str]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra, and 90 ms
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same

    exporters = [_exporter(name) for name in names]  # first: the SDK starts a thread for each processor
    told = _variable("OTEL_SERVICE_NAME") or "service.name=" in _variable("OTEL_RESOURCE_ATTRIBUTES")
    # The SDK's own hook at exit has no limit of ours.
    provider = TracerProvider(
        resource=Resource.create(None if told else {"service.name": SERVICE}), shutdown_on_exit=False
    )
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - an extra, and 90 ms

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the same

    return OTLPSpanExporter()
