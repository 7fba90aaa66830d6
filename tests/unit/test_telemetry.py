"""Metrics: the catalogue says what the exposition shows, and names keep to the rules."""

import re

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from parsec.telemetry import MOST_TENANTS, Metric, Telemetry

CATALOGUE = tuple(Telemetry().catalogue)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_and_helps_keep_to_the_rules(metric: Metric) -> None:
    assert re.fullmatch(r"parsec_[a-z]+(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert re.fullmatch(r"[A-Z].*\.", metric.help)
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert ("tenant" in metric.labels) == ("_tenant_" in metric.name)


def test_the_exposition_has_exactly_what_the_catalogue_has() -> None:
    telemetry = Telemetry()
    text = prometheus_client.generate_latest(telemetry.registry).decode()
    shown = {(family.name, family.type, family.documentation) for family in text_string_to_metric_families(text)}
    assert shown == {(m.name.removesuffix("_total"), m.kind, m.help) for m in telemetry.catalogue}


def test_two_of_them_do_not_share_a_figure() -> None:
    one, other = Telemetry(), Telemetry()
    one.accepted.inc(3)
    one.rejected.labels("invalid_timestamp").inc()
    assert one.value("parsec_ingest_events_accepted_total") == 3
    assert one.value("parsec_ingest_events_rejected_total", reason="invalid_timestamp") == 1
    assert other.value("parsec_ingest_events_accepted_total") == 0
    assert other.value("parsec_ingest_events_rejected_total", reason="invalid_timestamp") == 0


def test_made_up_tenants_cost_a_bounded_number_of_series() -> None:
    telemetry = Telemetry()
    for n in range(MOST_TENANTS + 50):
        telemetry.processed_of(f"t{n}", "stored", 2)
    telemetry.processed_of("t0", "dead", 1)
    telemetry.processed_of("", "dead", 3)
    told = telemetry.tenants()
    assert len(told) == MOST_TENANTS + 2
    assert told["t0"] == {"stored": 2, "dead": 1}
    assert told["other"] == {"stored": 100}
    assert told["-"] == {"dead": 3}
