"""Metrics: the catalogue says what the exposition shows, and names keep to the rules."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prometheus_client
import prometheus_client.openmetrics.exposition as openmetrics_text
import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as prometheus
import pytest

from parsec.telemetry import NAMED_TENANTS, Metric, Telemetry, UnlockedCounter, UnlockedHistogram

BOUNDS = (0.5, 1.0, 10.0)
CATALOGUE = tuple(Telemetry().catalogue)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_and_helps_keep_to_the_rules(metric: Metric) -> None:
    assert re.fullmatch(r"(parsec|process)(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert re.fullmatch(r"[A-Z].*\.", metric.help)
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert ("tenant" in metric.labels) == ("_tenant_" in metric.name)


@pytest.mark.parametrize(
    ("encode", "parse"),
    [
        (prometheus_client.generate_latest, prometheus.text_string_to_metric_families),
        (openmetrics_text.generate_latest, openmetrics.text_string_to_metric_families),
    ],
    ids=["prometheus", "openmetrics"],
)
def test_the_exposition_has_exactly_what_the_catalogue_has(encode: Any, parse: Any) -> None:
    telemetry = Telemetry()
    text = encode(telemetry.registry).decode()
    shown = {(family.name, family.type, family.documentation) for family in parse(text)}
    assert shown == {(m.name.removesuffix("_total"), m.kind, m.help) for m in telemetry.catalogue}


def test_each_metric_is_written_somewhere() -> None:
    sources = Path(__file__).parents[2] / "src" / "parsec"
    code = "".join(module.read_text() for module in sources.rglob("*.py") if module.name != "telemetry.py")
    metrics = {name for name in vars(Telemetry()) if not name.startswith("_")} - {"registry", "catalogue"}
    assert metrics - set(re.findall(r"telemetry\.(\w+)", code)) == set()


def test_two_of_them_do_not_share_a_figure() -> None:
    one, other = Telemetry(), Telemetry()
    one.accepted_from({"acme": 3}, 3)
    one.rejected_from("acme", "invalid_timestamp")
    assert one.value("parsec_ingest_events_accepted_total") == 3
    assert one.value("parsec_ingest_events_rejected_total", reason="invalid_timestamp") == 1
    assert other.value("parsec_ingest_events_accepted_total") == 0
    assert other.value("parsec_ingest_events_rejected_total", reason="invalid_timestamp") == 0


def test_made_up_tenants_cost_a_bounded_number_of_series() -> None:
    telemetry = Telemetry()
    for n in range(NAMED_TENANTS + 50):
        telemetry.processed_of(f"t{n}", "stored", 2)
    telemetry.processed_of("t0", "dead", 1)
    telemetry.processed_of("", "dead", 3)
    told = telemetry.tenants()
    assert len(told) == NAMED_TENANTS + 2
    assert told["t0"] == {"stored": 2, "dead": 1}
    assert told["other"] == {"stored": 100}
    assert told["-"] == {"dead": 3}


def test_accepted_and_rejected_events_are_counted_by_tenant() -> None:
    telemetry = Telemetry()
    telemetry.accepted_from({"a": 3, "b": 4}, 7)
    telemetry.accepted_from({"a": 1}, 1)
    telemetry.rejected_from("a", "missing_field", 2)
    telemetry.rejected_from("", "queue_full")
    value = telemetry.value
    assert value("parsec_ingest_events_accepted_total") == 8
    assert value("parsec_ingest_tenant_events_accepted_total", tenant="a") == 4
    assert value("parsec_ingest_tenant_events_accepted_total", tenant="b") == 4
    assert value("parsec_ingest_events_rejected_total", reason="missing_field") == 2
    assert value("parsec_ingest_tenant_events_rejected_total", tenant="a", reason="missing_field") == 2
    assert value("parsec_ingest_tenant_events_rejected_total", tenant="-", reason="queue_full") == 1


def test_made_up_tenants_of_requests_cost_a_bounded_number_of_series() -> None:
    telemetry = Telemetry()
    telemetry.rejected_from("made-up", "missing_field")
    for n in range(NAMED_TENANTS + 50):
        telemetry.accepted_from({f"t{n}": 2}, 2)
        telemetry.rejected_from(f"t{n}", "missing_field")
    value = telemetry.value
    assert value("parsec_ingest_tenant_events_accepted_total", tenant="t0") == 2
    assert value("parsec_ingest_tenant_events_accepted_total", tenant="other") == 100
    assert value("parsec_ingest_tenant_events_rejected_total", tenant="other", reason="missing_field") == 51
    text = prometheus_client.generate_latest(telemetry.registry).decode()
    assert len(set(re.findall(r'tenant="([^"]+)"', text))) == NAMED_TENANTS + 1


def shown(make: Callable[[prometheus_client.CollectorRegistry], None]) -> list[str]:
    registry = prometheus_client.CollectorRegistry(auto_describe=True)
    make(registry)
    text = prometheus_client.generate_latest(registry).decode()
    return [line for line in text.splitlines() if "_created" not in line]


@pytest.mark.parametrize("counts", [[], [3], [1, 0, 5]])
def test_an_unlocked_counter_without_a_label_shows_as_the_librarys(counts: list[int]) -> None:
    def ours(registry: prometheus_client.CollectorRegistry) -> None:
        counter = UnlockedCounter("events", "Some.")
        registry.register(counter)
        for count in counts:
            counter.add(count)

    def theirs(registry: prometheus_client.CollectorRegistry) -> None:
        counter = prometheus_client.Counter("events", "Some.", registry=registry)
        for count in counts:
            counter.inc(count)

    assert shown(ours) == shown(theirs)


def test_an_unlocked_counter_with_a_label_shows_as_the_librarys() -> None:
    def ours(registry: prometheus_client.CollectorRegistry) -> None:
        counter = UnlockedCounter("requests", "Some.", "status")
        registry.register(counter)
        counter.add(of="200")
        counter.add(of='4 "2" \\ 9')
        counter.add(2, "200")

    def theirs(registry: prometheus_client.CollectorRegistry) -> None:
        counter = prometheus_client.Counter("requests", "Some.", ("status",), registry=registry)
        counter.labels("200").inc(3)
        counter.labels('4 "2" \\ 9').inc()

    assert shown(ours) == shown(theirs)


@pytest.mark.parametrize("values", [[], [0.5], [0.1, 0.5, 0.75, 1.0, 2.0, 10.0, 10.5, 1e9]])
def test_an_unlocked_histogram_shows_as_the_librarys(values: list[float]) -> None:
    def ours(registry: prometheus_client.CollectorRegistry) -> None:
        histogram = UnlockedHistogram("seconds", "Some.", BOUNDS)
        registry.register(histogram)
        for value in values:
            histogram.observe(value)

    def theirs(registry: prometheus_client.CollectorRegistry) -> None:
        histogram = prometheus_client.Histogram("seconds", "Some.", registry=registry, buckets=BOUNDS)
        for value in values:
            histogram.observe(value)

    assert shown(ours) == shown(theirs)
