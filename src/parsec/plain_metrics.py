"""Counters and histograms for the way of every request: the library's take a lock each time, and ten times as long.

In: what one thread counts. Out: what /metrics shows, read by any thread. Errors: none. Who counts bounds the labels.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class PlainCounter(Collector):
    """A counter with one label, or with none."""

    def __init__(self, name: str, text: str, label: str | None = None) -> None:
        self.name = name
        self.help = text
        self._labels = () if label is None else (label,)
        self.counts: dict[str, int] = {} if label else {"": 0}

    def add(self, count: int = 1, of: str = "") -> None:
        """`of`: the label's value."""
        self.counts[of] = self.counts.get(of, 0) + count

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self.name, self.help, labels=self._labels)
        for value, count in list(self.counts.items()):
            family.add_metric((value,) if self._labels else (), count)
        yield family


class PlainHistogram(Collector):
    """A histogram. `bounds` in ascending order; a value that equals one counts below it."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.help = text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound), float(total)))  # type: ignore[no-untyped-call]
        family = HistogramMetricFamily(self.name, self.help)
        family.add_metric((), buckets, self._sum)
        yield family
