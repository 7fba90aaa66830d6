"""Every metric once: name, kind, unit, labels, help. docs/metrics.md and /metrics are made from this list.

A stage gets a `Telemetry` and adds per batch, never per event. Values are read back with `Telemetry.value`.

Which kind to use: `_plain` for what is added once per request (one label at most; several times as fast), `_counter`
for everything else that only grows, `_gauge` for a value that goes up and down or is read when asked for, `_histogram`
for durations and sizes of which the distribution matters, PlainHistogram for those observed once per request.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from parsec import __version__


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


# Without this every counter and histogram has a second series with the time of its making.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]


NAMED_TENANTS = 100
"""Tenants that have series of their own."""


FATES = ("stored", "duplicate", "dead", "lost")
"""What may become of an offset of the log."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of histograms of durations."""

_PROCESS = (
    ("process_virtual_memory_bytes", "gauge", "bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "gauge", "bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "gauge", "seconds", "Start time of the process since unix epoch in seconds."),
    ("process_cpu_seconds_total", "counter", "seconds", "Total user and system CPU time spent in seconds."),
    ("process_open_fds", "gauge", "", "Number of open file descriptors."),
    ("process_max_fds", "gauge", "", "Maximum number of open file descriptors."),
)
"""What every Prometheus client tells of its process, under the names that all of them use; Linux only."""


class Metric(msgspec.Struct, frozen=True):
    """One metric as the outside sees it: `name` is the family's, a counter's with its `_total`."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    help: str


class Telemetry:
    """The catalogue, alive: one registry per process (or per test)."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=True)
        self.catalogue: list[Metric] = []

        # Ingest.
        self.requests = self._plain("parsec_ingest_requests", "Answered ingest requests.", "status")
        self.requests.add(0, "200")  # from 0 on: Prometheus sees no increase in a series that begins at 1
        self._accepted = self._plain("parsec_ingest_events_accepted", "Events counted in accepted of an answer.")
        self.rejected = self._counter("parsec_ingest_events_rejected", "Events refused, by error code.", "reason")
        self._accepted_of = self._plain(
            "parsec_ingest_tenant_events_accepted",
            f"Those accepted of each tenant: the first {NAMED_TENANTS} by name, the rest in `other`.",
            "tenant",
        )
        self._tenant_rejected = self._counter(
            "parsec_ingest_tenant_events_rejected",
            "Those refused, likewise; in `other` also of who has no series yet, in `-` what tells no tenant.",
            "tenant",
            "reason",
        )
        self.body_bytes = self._plain("parsec_ingest_body_bytes", "Bytes of request bodies after decompression.")
        self.ack_latency = PlainHistogram(
            "parsec_ingest_ack_latency_seconds",
            "From the last byte of the body to the durable acknowledgement.",
            SECONDS,
        )
        self._note(self.ack_latency.name, "histogram", self.ack_latency.help, ())
        self.registry.register(self.ack_latency)
        self._rate_limited = self._counter(
            "parsec_ingest_tenant_limited_requests",
            "Requests refused because a tenant's events or bytes were used up; tenants as in "
            "parsec_process_tenant_events_total.",
            "tenant",
            "budget",
        )
        self.channel_events = self._gauge("parsec_channel_events", "Events that wait for a worker.")
        self.channel_bytes = self._gauge("parsec_channel_bytes", "Bytes that wait for a worker.")
        self.channel_capacity_events = self._gauge(
            "parsec_channel_capacity_events", "Events that may wait; more is refused with 429."
        )
        self.channel_capacity_bytes = self._gauge(
            "parsec_channel_capacity_bytes", "Bytes that may wait; more is refused with 429."
        )

        # Clients.
        self.http_connections = self._gauge("parsec_http_connections", "Connections that are open.")
        self.http_refused = self._counter(
            "parsec_http_refused", "Requests and connections refused or ended before a route saw them.", "reason"
        )

        # Worker and log.
        self.published = self._counter("parsec_publish_events", "Events made durable.")
        self.published_bytes = self._counter("parsec_publish_bytes", "Bytes of envelopes made durable.")
        self.publish_failed = self._counter("parsec_publish_events_failed", "Events whose publish failed in the end.")
        self.publish_latency = self._histogram(
            "parsec_publish_latency_seconds", "Duration of one publish: encode, write, sync."
        )
        self.publish_batch = self._histogram(
            "parsec_publish_batch_events", "Events per publish.", buckets=(1, 10, 100, 1_000, 10_000, 100_000)
        )
        self.log_bytes = self._gauge("parsec_log_bytes", "Bytes of the embedded log's files.")
        self.log_damaged = self._counter("parsec_log_damaged", "Damaged things set aside or skipped.", "what")
        self.disk_free = self._gauge("parsec_disk_free_bytes", "Free space where the data directory is.")
        self.disk_reserve = self._gauge(
            "parsec_disk_reserve_bytes", "Free space below which nothing more is taken in (PARSEC_DISK_RESERVE)."
        )

        # Spool, while Kafka does not acknowledge.
        self.spooled = self._counter("parsec_spool_events_written", "Events kept on this machine for Kafka.")
        self.spool_drained = self._counter("parsec_spool_events_drained", "Events of a spool that Kafka has now.")
        self.spool_refused = self._counter(
            "parsec_spool_events_refused", "Events of a spool that Kafka never takes, kept in refused.ndjson beside it."
        )
        self.spool_waiting = self._gauge("parsec_spool_waiting_events", "Events of spools that Kafka does not have.")

        # Queries.
        self.queries_cancelled = self._counter(
            "parsec_query_cancelled", "Queries stopped because their client had left."
        )
        self.tails = self._gauge("parsec_tail_readers", "Readers of live events.")
        self.tail_events = self._counter(
            "parsec_tail_events", "Events for readers of live events, by what became of them.", "fate"
        )

        # Processor and store.
        self.inserts = self._counter("parsec_store_inserts", "Blocks inserted into the store.")
        self.insert_failures = self._counter("parsec_store_insert_failures", "Inserts that failed and were retried.")
        self.insert_latency = self._histogram("parsec_store_insert_latency_seconds", "Duration of one insert.")
        self.insert_rows = self._histogram(
            "parsec_store_insert_rows", "Rows per insert.", buckets=(1, 10, 100, 1_000, 10_000, 100_000)
        )
        self.commit_latency = self._histogram(
            "parsec_process_commit_latency_seconds", "Duration of one commit of a range that is stored."
        )
        self.store_bytes = self._gauge(
            "parsec_store_bytes", "Bytes on disk of events and dead letters, each minute; with PARSEC_STORE_MAX_BYTES."
        )
        self.store_max_bytes = self._gauge(
            "parsec_store_max_bytes", "Bytes above which the oldest day goes (PARSEC_STORE_MAX_BYTES); 0: no bound."
        )
        self.store_dropped = self._counter(
            "parsec_store_dropped_events", "Events that left the store before their time.", "reason"
        )
        self.store_dropped_letters = self._counter(
            "parsec_store_dropped_dead_letters", "Dead letters that did.", "reason"
        )
        self.store_dropped_bytes = self._counter("parsec_store_dropped_bytes", "Their bytes on disk.", "reason")
        for dropped in (self.store_dropped, self.store_dropped_letters, self.store_dropped_bytes):
            dropped.labels("max_bytes")
        self.processed = self._counter("parsec_process_events", "Offsets processed, by what became of them.", "fate")
        for fate in FATES:
            self.processed.labels(fate)  # from 0 on, as requests
        self._tenant_fates = self._counter(
            "parsec_process_tenant_events",
            f"The same per tenant: the first {NAMED_TENANTS} by name, the rest in `other`, those without one in `-`.",
            "tenant",
            "fate",
        )
        self._tenants: set[str] = set()
        self.lag = self._gauge("parsec_process_lag_events", "Durable events not yet committed by the processor.")
        self.partition_lag = self._gauge(
            "parsec_process_partition_lag_events", "The same for each partition that this process reads.", "partition"
        )

        self.searchable_age = self._gauge(
            "parsec_process_searchable_age_seconds",
            "How long ago everything accepted by then had become searchable; as `complete_until` of answers says.",
        )
        self.ledger_difference = self._gauge(
            "parsec_ledger_difference_events",
            "Committed offsets that the counts of a partition's ledger do not explain; anything but 0 is a bug.",
            "partition",
        )
        self.audit_difference = self._gauge(
            "parsec_audit_difference_events", "What the last GET /admin/audit found of each partition.", "partition"
        )

        # Claims.
        self.dedup_window = self._gauge(
            "parsec_dedup_window_seconds", "How far back every claimed id is known; at most PARSEC_DEDUP_WINDOW."
        )
        self.dedup_ids = self._gauge("parsec_dedup_ids", "Ids held in the set of claims.")
        self.dedup_early = self._counter(
            "parsec_dedup_ids_early", "Ids that left the set before the end of the window, for want of room."
        )
        self.dedup_unavailable = self._counter(
            "parsec_dedup_unavailable_events", "Events stored without a check for repeats, because Redis had no answer."
        )
        self.dedup_conflicts = self._counter(
            "parsec_dedup_conflict_events", "Duplicates whose content differs from that of the stored event."
        )

        # The process.
        self.ready = self._gauge("parsec_ready", "Whether /readyz answers 200: 1 or 0.")
        self._gauge("parsec_build_info", "Always 1; the label is the version.", "version").labels(__version__).set(1)
        self.catalogue += [Metric(name, kind, unit, (), text) for name, kind, unit, text in _PROCESS]
        prometheus.ProcessCollector(registry=self.registry)

    def accepted_from(self, by_tenant: Mapping[str, int], count: int) -> None:
        """Counts the accepted events of one request: in all, and of each tenant."""
        self._accepted.counts[""] += count
        counts, known = self._accepted_of.counts, self._tenants
        for tenant, events in by_tenant.items():
            label = tenant if tenant in known else self._tenant(tenant)
            counts[label] = counts.get(label, 0) + events

    def rejected_from(self, tenant: str, reason: str, count: int = 1) -> None:
        """Counts events that were refused; an empty tenant cannot be told. A name alone earns no series."""
        self.rejected.labels(reason).inc(count)
        self._tenant_rejected.labels(self._known(tenant), reason).inc(count)

    def processed_of(self, tenant: str, fate: str, count: int) -> None:
        """Counts what became of a tenant's events; an empty tenant cannot be told."""
        self._tenant_fates.labels(self._tenant(tenant), fate).inc(count)

    def rate_limited_of(self, tenant: str, budget: str) -> None:
        """Counts a request that was refused for a tenant's events or bytes."""
        self._rate_limited.labels(self._known(tenant), budget).inc()

    def tenants(self) -> dict[str, dict[str, int]]:
        """What became of the events that this process has processed, by tenant as in the metrics."""
        told: dict[str, dict[str, int]] = {}
        for metric in self._tenant_fates.collect():
            for sample in metric.samples:
                told.setdefault(sample.labels["tenant"], {})[sample.labels["fate"]] = int(sample.value)
        return told

    def _known(self, name: str) -> str:
        """The label of who may have none of its own for this alone."""
        return name if name in self._tenants else "other" if name else "-"

    def _tenant(self, name: str) -> str:
        """The label: a series costs memory here and in Prometheus, and anybody may make up a tenant."""
        if name in self._tenants:
            return name
        if not name:
            return "-"
        if len(self._tenants) >= NAMED_TENANTS:
            return "other"
        self._tenants.add(name)
        return name

    def value(self, name: str, **labels: str) -> float:
        """The present value of one series; 0 when it has none yet. `name` as in the exposition."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def _counter(self, name: str, text: str, *labels: str) -> prometheus.Counter:
        self._note(f"{name}_total", "counter", text, labels)
        return prometheus.Counter(name, text, labels, registry=self.registry)

    def _plain(self, name: str, text: str, label: str | None = None) -> PlainCounter:
        self._note(f"{name}_total", "counter", text, (label,) if label else ())
        counter = PlainCounter(name, text, label)
        self.registry.register(counter)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus.Gauge:
        self._note(name, "gauge", text, labels)
        return prometheus.Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...] | None = None) -> prometheus.Histogram:
        self._note(name, "histogram", text, ())
        return prometheus.Histogram(name, text, registry=self.registry, buckets=buckets or SECONDS)

    def _note(self, name: str, kind: str, text: str, labels: tuple[str, ...]) -> None:
        unit = next((word for word in ("seconds", "bytes", "events") if word in name.split("_")), "")
        self.catalogue.append(Metric(name, kind, unit, labels, text))
