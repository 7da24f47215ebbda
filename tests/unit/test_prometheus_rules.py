"""The alerts for Prometheus: each is whole, and asks only for metrics and labels that there are."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from supervisor.telemetry import metrics
from supervisor.telemetry.tallies import Histogram, Tally
from tests.source import ROOT

RULES: Final = ROOT / "deploy/prometheus-rules.yaml"
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERTS: Final = [rule for group in GROUPS for rule in group["rules"]]
FUNCTIONS: Final = frozenset(
    {"absent", "clamp_min", "delta", "histogram_quantile", "increase", "max", "rate", "sum", "by", "on", "and", "or"}
    | {"unless", "offset"}
)
OF_PROMETHEUS: Final = frozenset({"instance", "le"})


def labels_of() -> dict[str, set[str]]:
    """Name every series, with its labels."""
    found = dict[str, set[str]]()
    for each in metrics.ALL:
        name, labels = each.family.name, {*each.family.labels, "instance"}
        if isinstance(each, Histogram):
            found |= {f"{name}_bucket": {*labels, "le"}, f"{name}_count": labels, f"{name}_sum": labels}
        else:
            found[f"{name}_total" if isinstance(each, Tally) else name] = labels
    return found


def named(rule: dict[str, Any]) -> str:
    """Name a rule."""
    return str(rule["alert"])


@pytest.mark.parametrize("rule", ALERTS, ids=named)
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """Every word of an expression is a metric, one of its labels, or a function of PromQL, and its brackets close."""
    expr, series = str(rule["expr"]), labels_of()
    bare = re.sub(r'"[^"]*"|\[\w+\]|(?<=offset )\w+', "", expr)
    asked = set(re.findall(r"\bsupervisor_\w+", bare))
    assert asked
    assert asked <= series.keys()
    words = set(re.findall(r"\b[a-z_]\w*", bare)) - asked - FUNCTIONS
    known = set.union(*(series[name] for name in asked)) | OF_PROMETHEUS
    assert words <= known
    for opens, closes in ("()", "{}", "[]"):
        assert expr.count(opens) == expr.count(closes)


@pytest.mark.parametrize("rule", ALERTS, ids=named)
def test_an_alert_tells_what_to_do(rule: dict[str, Any]) -> None:
    """An alert has a severity, says what is wrong and what to do, and shows only labels that its expression leaves."""
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Supervisor([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"]["severity"] in {"page", "ticket", "info"}
    assert rule["annotations"].keys() == {"summary", "remedy"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    kept = {label.strip() for found in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in found.split(",")}
    if " by (" not in rule["expr"]:  # not aggregated, so it has all of them
        kept = set.union(*(labels_of().get(name, set()) for name in re.findall(r"supervisor_\w+", rule["expr"])))
    assert shown <= kept - {"le"}


@pytest.mark.parametrize("rule", ALERTS, ids=named)
def test_a_counter_is_asked_for_its_growth(rule: dict[str, Any]) -> None:
    """A counter stands in `rate` or `increase`, and a figure of the whole fleet in neither, nor in a sum."""
    expr = str(rule["expr"])
    for each in metrics.ALL:
        name = f"{each.family.name}_total" if isinstance(each, Tally) else each.family.name
        for place in re.finditer(rf"(\w+)(?: by \([^)]*\))? ?\({name}\b", expr):
            assert (place[1] in {"rate", "increase"}) == isinstance(each, Tally)
    for name in re.findall(r"sum(?: by \([^)]*\))? ?\((supervisor_\w+)", expr):
        assert not name.startswith(("supervisor_queue_", "supervisor_workers", "supervisor_kill"))


def test_names_are_unique() -> None:
    """No two alerts and no two groups have the same name."""
    for names in ([rule["alert"] for rule in ALERTS], [group["name"] for group in GROUPS]):
        assert len(set(names)) == len(names)


def test_what_is_asked_for_is_covered() -> None:
    """There is an alert for each that operators are promised: leases, switches, migrations, and the four of workers."""
    text = RULES.read_text(encoding="utf-8")
    for name in (
        "supervisor_leases_expired_total",
        "supervisor_kill_switch_active",
        "supervisor_mode",
        "supervisor_switched_off",
        "supervisor_migration_failures",
        "supervisor_singletons_doubled",
        "supervisor_workers_stale",
        "supervisor_workers_stopping_hung",
        "supervisor_worker_versions",
        "supervisor_worker_starts_1h",
        "supervisor_heartbeat_age_seconds",
    ):
        assert name in text
