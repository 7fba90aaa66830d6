"""What /metrics shows of a counter and of a histogram: the same as of the library's own counters and histograms."""

from collections.abc import Callable

import prometheus_client as prometheus
import pytest

from parsec.telemetry import PlainCounter, PlainHistogram

BOUNDS = (0.5, 1.0, 10.0)


def shown(make: Callable[[prometheus.CollectorRegistry], None]) -> list[str]:
    registry = prometheus.CollectorRegistry(auto_describe=True)
    make(registry)
    text = prometheus.generate_latest(registry).decode()
    return [line for line in text.splitlines() if "_created" not in line]


@pytest.mark.parametrize("counts", [[], [3], [1, 0, 5]])
def test_a_counter_without_a_label(counts: list[int]) -> None:
    def ours(registry: prometheus.CollectorRegistry) -> None:
        counter = PlainCounter("events", "Some.")
        registry.register(counter)
        for count in counts:
            counter.add(count)

    def theirs(registry: prometheus.CollectorRegistry) -> None:
        counter = prometheus.Counter("events", "Some.", registry=registry)
        for count in counts:
            counter.inc(count)

    assert shown(ours) == shown(theirs)


def test_a_counter_with_a_label() -> None:
    def ours(registry: prometheus.CollectorRegistry) -> None:
        counter = PlainCounter("requests", "Some.", "status")
        registry.register(counter)
        counter.add(of="200")
        counter.add(of='4 "2" \\ 9')
        counter.add(2, "200")

    def theirs(registry: prometheus.CollectorRegistry) -> None:
        counter = prometheus.Counter("requests", "Some.", ("status",), registry=registry)
        counter.labels("200").inc(3)
        counter.labels('4 "2" \\ 9').inc()

    assert shown(ours) == shown(theirs)


@pytest.mark.parametrize("values", [[], [0.5], [0.1, 0.5, 0.75, 1.0, 2.0, 10.0, 10.5, 1e9]])
def test_a_histogram(values: list[float]) -> None:
    def ours(registry: prometheus.CollectorRegistry) -> None:
        histogram = PlainHistogram("seconds", "Some.", BOUNDS)
        registry.register(histogram)
        for value in values:
            histogram.observe(value)

    def theirs(registry: prometheus.CollectorRegistry) -> None:
        histogram = prometheus.Histogram("seconds", "Some.", registry=registry, buckets=BOUNDS)
        for value in values:
            histogram.observe(value)

    assert shown(ours) == shown(theirs)
