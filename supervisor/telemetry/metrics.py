"""The metrics of this process, and how they are shown to Prometheus.

Each is named `supervisor_*`, with its unit, and stands in `docs/metrics.md`. Labels are queues, kinds, actors and
limits, never tenants, and never anything that a job or a user has written.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from supervisor.telemetry import event_tallies, fleet_gauges, job_tallies, process_gauges
from supervisor.telemetry.tallies import Gauge, Histogram, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""What `render` returns, as HTTP calls it."""

ALL: Final[tuple[Tally | Gauge | Histogram, ...]] = tuple(
    each
    for module in (job_tallies, event_tallies, process_gauges, fleet_gauges)
    for each in vars(module).values()
    if isinstance(each, Tally | Gauge | Histogram)
)
"""Every metric that there is."""

_log = logging.getLogger(__name__)
_asked_at = -math.inf


def render() -> bytes:
    """Show all metrics as text in the format of Prometheus 0.0.4; may be called from any thread.

    Those that an application has registered with `prometheus_client` itself come after ours, and with them what that
    says of the process and of Python. Where one of those fails, it is logged, and ours are shown alone.
    """
    global _asked_at  # noqa: PLW0603 - of this process
    _asked_at = time.monotonic()
    # Here, as it takes 20 ms to import: only a process that is asked for its metrics pays.
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest  # noqa: PLC0415

    own = CollectorRegistry(auto_describe=False)
    own.register(_Collector(ALL))
    shown = generate_latest(own)
    try:
        return shown + generate_latest(REGISTRY)
    except Exception:  # noqa: BLE001 - what the application measures must not hide what we do
        _log.exception("a metric of the application cannot be read")
        return shown


def asked_ago() -> float:
    """Return how many seconds ago somebody asked for the metrics of this process; infinity: never."""
    return time.monotonic() - _asked_at


class _Collector:
    """Our metrics as `prometheus_client` wants them."""

    def __init__(self, metrics: Iterable[Tally | Gauge | Histogram]) -> None:
        self._metrics: Final = tuple(metrics)

    def collect(self) -> Iterator[Metric]:
        """Give each metric with all its series."""
        for metric in self._metrics:
            yield _shown(metric)


def _shown(metric: Tally | Gauge | Histogram) -> Metric:
    from prometheus_client.core import (  # noqa: PLC0415 - as above
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    family = metric.family
    if isinstance(metric, Tally):
        counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for labels, count in sorted(metric.counts().items()):
            counter.add_metric(labels, count)
        return counter
    if isinstance(metric, Gauge):
        gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in sorted(metric.values().items()):
            gauge.add_metric(labels, value)
        return gauge
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, spread in sorted(metric.spreads().items(), key=lambda item: item[0]):
        below, buckets = 0, []
        for bound, count in zip(metric.bounds, spread.buckets, strict=True):
            below += count
            buckets.append(("+Inf" if math.isinf(bound) else repr(bound), below))
        histogram.add_metric(labels, buckets, sum_value=spread.total)
    return histogram
