"""What `/metrics` shows: the format, every metric with its unit, and nothing that must not be seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, Counter
from prometheus_client.parser import text_string_to_metric_families

from supervisor.telemetry import metrics
from supervisor.telemetry.job_tallies import CLAIM, CLAIMED
from supervisor.telemetry.process_gauges import SLOTS
from supervisor.telemetry.tallies import Gauge, Histogram, Tally
from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

FORBIDDEN = {"tenant", "job", "job_id", "args", "error", "token", "address", "user"}


def shown() -> dict[str, Metric]:
    """Parse what is shown, as Prometheus does."""
    text = metrics.render().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_prometheus_can_read_it() -> None:
    """Every metric is shown once, with its help, its type, and as a parser of the format reads it."""
    CLAIMED.add(2, ('a "queue"\n', "kind\\"))
    CLAIM.observe(0.003, ("q",))
    SLOTS.set(7, ("free",))
    families = shown()
    assert {each.family.name for each in metrics.ALL} <= families.keys()
    assert all(families[each.family.name].documentation == each.family.help for each in metrics.ALL)
    found = [sample for family in families.values() for sample in family.samples]
    samples = {(sample.name, *map(sample.labels.get, sorted(sample.labels))): sample.value for sample in found}
    assert samples["supervisor_jobs_claimed_total", "kind\\", 'a "queue"\n'] >= 2
    assert samples["supervisor_claim_duration_seconds_bucket", "0.0025", "q"] == 0
    assert samples["supervisor_claim_duration_seconds_bucket", "0.005", "q"] == 1
    assert samples["supervisor_claim_duration_seconds_bucket", "+Inf", "q"] == 1
    assert samples["supervisor_claim_duration_seconds_count", "q"] == 1
    assert samples["supervisor_slots", "free"] == 7


def test_names_follow_the_conventions() -> None:
    """A name begins with ours, says its unit in the base unit, and no two are alike."""
    names = [each.family.name for each in metrics.ALL]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"supervisor_[a-z0-9]+(_[a-z0-9]+)*", name) for name in names)
    assert not [name for name in names if name.endswith(("_total", "_ms", "_minutes", "_percent"))]
    assert all(each.family.name.endswith("_seconds") for each in metrics.ALL if isinstance(each, Histogram))
    assert all(each.family.help.endswith(".") for each in metrics.ALL)


def test_no_label_tells_what_it_must_not() -> None:
    """Labels are of few values: no tenant, no job, no text that somebody wrote."""
    assert not {label for each in metrics.ALL for label in each.family.labels} & FORBIDDEN


def test_the_documentation_has_every_metric() -> None:
    """The page of the metrics lists each with its labels, and none that there is not."""
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(supervisor_\w+)` \|([^|]*)\|", page, re.MULTILINE)
    listed = {(name, labels.strip()) for name, labels in rows}
    expected = {(name_of(each), ", ".join(f"`{label}`" for label in each.family.labels)) for each in metrics.ALL}
    assert listed == expected


def name_of(metric: Tally | Gauge | Histogram) -> str:
    """Name a metric as Prometheus does."""
    return f"{metric.family.name}_total" if isinstance(metric, Tally) else metric.family.name


@pytest.fixture
def application() -> Iterator[Counter]:
    """Give a metric that an application has registered by itself."""
    counter = Counter("shop_orders", "Orders.")
    yield counter
    REGISTRY.unregister(counter)


def test_an_application_can_add_its_own(application: Counter) -> None:
    """What is registered with the Prometheus client is shown as well, and what that says of the process."""
    application.inc(3)
    families = shown()
    assert [sample.value for sample in families["shop_orders"].samples if sample.name == "shop_orders_total"] == [3]
    assert "python_info" in families


class Broken:
    """Metrics that cannot be read."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        raise RuntimeError("no")


def test_a_broken_metric_of_an_application_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """If the application's metrics cannot be read, ours are shown, and the log says so."""
    broken = Broken()
    REGISTRY.register(broken)
    try:
        families = shown()
    finally:
        REGISTRY.unregister(broken)
    assert "supervisor_slots" in families
    assert "cannot be read" in caplog.text


def test_a_reading_that_fails_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A gauge whose reading raises is shown without it, and the log says so."""
    take_back = SLOTS.read_by(lambda: {(): 1 / 0})
    try:
        assert "supervisor_jobs_claimed" in shown()
    finally:
        take_back()
    assert "cannot be read" in caplog.text


def test_it_is_known_when_somebody_asked() -> None:
    """Whoever brings the figures up to date can tell whether anybody looks."""
    metrics.render()
    assert metrics.asked_ago() < 30
