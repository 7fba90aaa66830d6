"""Every metric once: name, kind, unit, labels, help. docs/metrics.md and /metrics are made from this list.

In: counts and durations, added per batch or request, never per event. Out: Prometheus metrics; /stats reads them back
with `Telemetry.value`. Next: parsec.web.routes.stats.

Which kind to use:
- `_counter`, the default: what several threads add to, or what is added to rarely. Each call takes a lock.
- `_unlocked_counter`, `_unlocked_histogram`: what every request adds to, from the event loop's thread alone. A tenth
  of the cost of one with a label.
- `_gauge`: what goes up and down. If the value exists anyway, as the length of a queue, give the gauge a function
  (`set_function`): it is called only when /metrics is.
- `_histogram`: durations and sizes. Buckets are SECONDS unless stated otherwise.
- A label `tenant` comes from `_tenant_label` or `_known_tenant_label`, which bound the number of series.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from parsec import __version__
from parsec.core.counts import Counts


class UnlockedCounter(Collector):
    """A counter with one label, or with none. For one thread."""

    def __init__(self, name: str, text: str, label: str | None = None) -> None:
        self.name = name
        self.help = text
        self._labels = () if label is None else (label,)
        self.counts: dict[str, int] = {} if label else {"": 0}

    def add(self, count: int = 1, of: str = "") -> None:
        """`of`: the value of the label."""
        self.counts[of] = self.counts.get(of, 0) + count

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self.name, self.help, labels=self._labels)
        for value, count in list(self.counts.items()):
            family.add_metric((value,) if self._labels else (), count)
        yield family


class UnlockedHistogram(Collector):
    """A histogram for one thread. `bounds`: ascending upper bounds, inclusive."""

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


# Otherwise every counter and histogram has a second series with the time of its creation.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]


NAMED_TENANTS = 100
"""Tenants with series of their own."""

FATES = Counts.__struct_fields__
"""What may become of an event of the log."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of durations."""

_PROCESS = (
    ("process_virtual_memory_bytes", "gauge", "bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "gauge", "bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "gauge", "seconds", "Start time of the process since unix epoch in seconds."),
    ("process_cpu_seconds_total", "counter", "seconds", "Total user and system CPU time spent in seconds."),
    ("process_open_fds", "gauge", "", "Number of open file descriptors."),
    ("process_max_fds", "gauge", "", "Maximum number of open file descriptors."),
)
"""The metrics of prometheus_client.ProcessCollector; Linux only."""


class Metric(msgspec.Struct, frozen=True):
    """One metric. `name`: of its family; of a counter with `_total`."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    help: str


class Telemetry:
    """All metrics with their values: one registry per process (or test)."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=True)
        self.catalogue: list[Metric] = []

        # Ingest.
        # fmt: off
        self.requests = self._unlocked_counter("parsec_ingest_requests", "Answered ingest requests.", "status")
        self.requests.add(0, "200")  # begin at 0: Prometheus sees no increase in a series that begins at 1
        self._accepted = self._unlocked_counter("parsec_ingest_events_accepted", "Accepted events.")
        self._rejected = self._counter("parsec_ingest_events_rejected", "Rejected events, by error code.", "reason")
        self.events_rejected = 0  # of requests that were read
        self.blank = self._unlocked_counter("parsec_ingest_events_blank",
            "Events without message and metadata, which are not stored.")
        self._accepted_of = self._unlocked_counter("parsec_ingest_tenant_events_accepted",
            f"Accepted events per tenant: the first {NAMED_TENANTS} by name, the rest in `other`.", "tenant")
        self._tenant_rejected = self._counter("parsec_ingest_tenant_events_rejected",
            "Rejected events per tenant; `other`: also tenants without accepted events; `-`: events without a tenant.",
            "tenant", "reason")
        self.body_bytes = self._unlocked_counter("parsec_ingest_body_bytes",
            "Bytes of request bodies after decompression.")
        self.ack_latency = self._unlocked_histogram("parsec_ingest_ack_latency_seconds",
            "From the last byte of a request body to its durable acknowledgement.")
        self._rate_limited = self._counter("parsec_ingest_tenant_limited_requests",
            "Requests refused by a rate limit per tenant, by its unit (events or bytes); tenants as in "
            "parsec_ingest_tenant_events_rejected_total.", "tenant", "budget")
        self.channel_events = self._gauge("parsec_channel_events", "Events waiting in the queue for a worker.")
        self.channel_bytes = self._gauge("parsec_channel_bytes", "Bytes waiting in the queue for a worker.")
        self.channel_capacity_events = self._gauge("parsec_channel_capacity_events",
            "Queue size in events; beyond it requests get 429.")
        self.channel_capacity_bytes = self._gauge("parsec_channel_capacity_bytes",
            "Queue size in bytes; beyond it requests get 429.")

        # Clients.
        self.http_connections = self._gauge("parsec_http_connections", "Open connections.")
        self.http_refused = self._counter("parsec_http_refused",
            "Requests and connections refused or closed before they reached a route.", "reason")

        self.keyless_requests = self._unlocked_counter("parsec_http_keyless_requests",
            "Requests served without an API key: while there is none, or with PARSEC_AUTH=warn or off.")

        # Worker and log.
        self.published = self._counter("parsec_publish_events", "Events made durable.")
        self.published_bytes = self._counter("parsec_publish_bytes", "Bytes of envelopes made durable.")
        self.publish_failed = self._counter("parsec_publish_events_failed", "Events that could not be made durable.")
        self.publish_latency = self._histogram("parsec_publish_latency_seconds",
            "Duration of one publish: encode, write, sync.")
        self.publish_batch = self._histogram("parsec_publish_batch_events",
            "Events per publish.", buckets=(1, 10, 100, 1_000, 10_000, 100_000))
        self.log_bytes = self._gauge("parsec_log_bytes", "Bytes of the embedded log's files.")
        self.log_damaged = self._counter("parsec_log_damaged",
            "Damaged parts of the log that were quarantined or skipped, by kind.", "what")
        self.disk_free = self._gauge("parsec_disk_free_bytes", "Free space on the disk of the data directory.")
        self.disk_reserve = self._gauge("parsec_disk_reserve_bytes",
            "Free space below which ingest answers 503 (PARSEC_DISK_RESERVE).")

        # Spool.
        self.spooled = self._counter("parsec_spool_events_written",
            "Events written to the spool because Kafka did not acknowledge them.")
        self.spool_drained = self._counter("parsec_spool_events_drained", "Spooled events that Kafka has acknowledged.")
        self.spool_refused = self._counter("parsec_spool_events_refused",
            "Spooled events that Kafka refuses for good, kept in refused.ndjson.")
        self.spool_lost = self._counter("parsec_spool_events_lost",
            "Spooled events that were lost before Kafka had them, found by this process.")
        self.spool_waiting = self._gauge("parsec_spool_waiting_events", "Spooled events that Kafka does not have yet.")

        # Queries.
        self.queries_cancelled = self._counter("parsec_query_cancelled",
            "Queries stopped because their client disconnected.")
        self.tails = self._gauge("parsec_tail_readers", "Open tails.")
        self.tail_events = self._counter("parsec_tail_events",
            "Events for tails, by fate: sent, skipped by a slow reader, or never compared.", "fate")

        # Processor and store.
        self.inserts = self._counter("parsec_store_inserts", "Blocks inserted into the store.")
        self.insert_failures = self._counter("parsec_store_insert_failures", "Inserts that failed and were retried.")
        self.insert_latency = self._histogram("parsec_store_insert_latency_seconds", "Duration of one insert.")
        self.insert_rows = self._histogram("parsec_store_insert_rows",
            "Rows per insert.", buckets=(1, 10, 100, 1_000, 10_000, 100_000))
        self.commit_latency = self._histogram("parsec_process_commit_latency_seconds",
            "Duration of one commit of a stored range.")
        self.store_bytes = self._gauge("parsec_store_bytes",
            "Bytes on disk of events and dead letters, measured each minute; only with PARSEC_STORE_MAX_BYTES.")
        self.store_max_bytes = self._gauge("parsec_store_max_bytes",
            "Bytes above which the oldest day is dropped (PARSEC_STORE_MAX_BYTES); 0: no limit.")
        self.store_dropped = self._counter("parsec_store_dropped_events",
            "Events dropped from the store before their retention ended.", "reason")
        self.store_dropped_letters = self._counter("parsec_store_dropped_dead_letters",
            "Dead letters dropped from the store before their retention ended.", "reason")
        self.store_dropped_bytes = self._counter("parsec_store_dropped_bytes",
            "Bytes on disk of dropped events and dead letters.", "reason")
        for dropped in (self.store_dropped, self.store_dropped_letters, self.store_dropped_bytes):
            dropped.labels("max_bytes")
        self.store_detached = self._counter("parsec_store_detached_parts",
            "Damaged parts of the embedded store that were detached, by table; earlier ones count at a start.", "table")
        self.store_missing = self._gauge("parsec_store_missing_events",
            "Events and dead letters that the last comparison of the store with the ledger did not find.")
        self.stored_again = self._counter("parsec_store_events_stored_again",
            "Events and dead letters that the store had lost and that were stored again from the log.")
        self.scrub_bytes = self._counter("parsec_store_scrub_bytes",
            "Bytes of the embedded store's parts whose checksums were checked.")
        self.scrub_waiting = self._gauge("parsec_store_scrub_waiting_bytes",
            "Bytes of parts that the running pass over the embedded store has not checked yet.")
        self.scrub_passed = self._gauge("parsec_store_scrub_last_pass_seconds",
            "When the last full pass over the embedded store ended, in seconds since 1970; 0: none since the start.")
        self.store_detached_bytes = self._gauge("parsec_store_detached_bytes",
            "Bytes on disk of detached parts of the embedded store.")
        self.processed = self._counter("parsec_process_events", "Processed events, by fate.", "fate")
        for fate in FATES:
            self.processed.labels(fate)  # begin at 0, like requests
        self._tenant_fates = self._counter("parsec_process_tenant_events",
            f"Processed events per tenant: the first {NAMED_TENANTS} by name, the rest in `other`; `-`: without one.",
            "tenant", "fate")
        self._tenants: set[str] = set()
        self.lag = self._gauge("parsec_process_lag_events", "Durable events that the processor has not committed yet.")
        self.partition_lag = self._gauge("parsec_process_partition_lag_events",
            "Lag per partition that this process reads.", "partition")

        self.searchable_age = self._gauge("parsec_process_searchable_age_seconds",
            "Age of the newest moment up to which everything accepted is searchable; as `complete_until` of answers.")
        self.ledger_difference = self._gauge("parsec_ledger_difference_events",
            "Committed offsets that the ledger of a partition does not explain; anything but 0 is a bug.", "partition")
        self.audit_difference = self._gauge("parsec_audit_difference_events",
            "Difference that the last GET /admin/audit found, per partition.", "partition")

        # Claims.
        self.dedup_window = self._gauge("parsec_dedup_window_seconds",
            "How far back every id is remembered; at most PARSEC_DEDUP_WINDOW.")
        self.dedup_ids = self._gauge("parsec_dedup_ids", "Remembered ids.")
        self.dedup_early = self._counter("parsec_dedup_ids_early",
            "Ids forgotten before the end of PARSEC_DEDUP_WINDOW, for lack of room (PARSEC_DEDUP_IDS).")
        self.dedup_unavailable = self._counter("parsec_dedup_unavailable_events",
            "Events stored without a check for duplicates, because Redis did not answer.")
        self.dedup_conflicts = self._counter("parsec_dedup_conflict_events",
            "Duplicates with other content than the stored event.")

        # The process.
        self.ready = self._gauge("parsec_ready", "Whether /readyz answers 200: 1 or 0.")
        # fmt: on
        self._gauge("parsec_build_info", "Always 1; the label is the version of Parsec.", "version").labels(
            __version__
        ).set(1)
        self.catalogue += [Metric(name, kind, unit, (), text) for name, kind, unit, text in _PROCESS]
        prometheus.ProcessCollector(registry=self.registry)

    def accepted_from(self, by_tenant: Mapping[str, int], count: int) -> None:
        """Add the accepted events of one request: to the total, and to each tenant's."""
        self._accepted.counts[""] += count
        counts, known = self._accepted_of.counts, self._tenants
        for tenant, events in by_tenant.items():
            label = tenant if tenant in known else self._tenant_label(tenant)
            counts[label] = counts.get(label, 0) + events

    def rejected_from(self, tenant: str, reason: str, count: int = 1) -> None:
        """Add rejected events; tenant '': unknown. A new tenant gets no series, its name may be made up."""
        self._rejected.labels(reason).inc(count)
        self._tenant_rejected.labels(self._known_tenant_label(tenant), reason).inc(count)

    def processed_of(self, tenant: str, fate: str, count: int) -> None:
        """Add processed events of a tenant; '': unknown."""
        self._tenant_fates.labels(self._tenant_label(tenant), fate).inc(count)

    def rate_limited_of(self, tenant: str, budget: str) -> None:
        """Add a request refused by a tenant's limit; `budget`: events or bytes."""
        self._rate_limited.labels(self._known_tenant_label(tenant), budget).inc()

    def tenants(self) -> dict[str, dict[str, int]]:
        """Processed events by tenant and fate, with the tenants of the metrics."""
        counts: dict[str, dict[str, int]] = {}
        for metric in self._tenant_fates.collect():
            for sample in metric.samples:
                counts.setdefault(sample.labels["tenant"], {})[sample.labels["fate"]] = int(sample.value)
        return counts

    def _known_tenant_label(self, name: str) -> str:
        """The label of a tenant, which gets no new series for this."""
        return name if name in self._tenants else "other" if name else "-"

    def _tenant_label(self, name: str) -> str:
        """The label of a tenant. Bounded, because a series costs memory and clients can make up tenants."""
        if name in self._tenants:
            return name
        if not name:
            return "-"
        if len(self._tenants) >= NAMED_TENANTS:
            return "other"
        self._tenants.add(name)
        return name

    def value(self, name: str, **labels: str) -> float:
        """The value of one series, by its name in /metrics; 0 if it does not exist yet."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def _counter(self, name: str, text: str, *labels: str) -> prometheus.Counter:
        self._add_to_catalogue(f"{name}_total", "counter", text, labels)
        return prometheus.Counter(name, text, labels, registry=self.registry)

    def _unlocked_counter(self, name: str, text: str, label: str | None = None) -> UnlockedCounter:
        self._add_to_catalogue(f"{name}_total", "counter", text, (label,) if label else ())
        counter = UnlockedCounter(name, text, label)
        self.registry.register(counter)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus.Gauge:
        self._add_to_catalogue(name, "gauge", text, labels)
        return prometheus.Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...] | None = None) -> prometheus.Histogram:
        self._add_to_catalogue(name, "histogram", text, ())
        return prometheus.Histogram(name, text, registry=self.registry, buckets=buckets or SECONDS)

    def _unlocked_histogram(self, name: str, text: str) -> UnlockedHistogram:
        self._add_to_catalogue(name, "histogram", text, ())
        histogram = UnlockedHistogram(name, text, SECONDS)
        self.registry.register(histogram)
        return histogram

    def _add_to_catalogue(self, name: str, kind: str, text: str, labels: tuple[str, ...]) -> None:
        unit = next((word for word in ("seconds", "bytes", "events") if word in name.split("_")), "")
        self.catalogue.append(Metric(name, kind, unit, labels, text))
