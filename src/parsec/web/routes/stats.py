"""GET /stats and /metrics: the counts of this process, as JSON and for Prometheus.

In: the metrics (parsec.telemetry), the channel, the ledger. Out: parsec.api.status. Errors: none. /stats is read back
from the metrics, so that the two never disagree.
"""

import shutil
from collections.abc import Callable, Sequence

import msgspec
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api import status
from parsec.core.timestamp import SECOND, text_of
from parsec.ingest.channel import Channel
from parsec.ports.broker import Progress
from parsec.telemetry import Telemetry
from parsec.web.responses import JsonResponse
from parsec.web.routes.health import Health

_SUMMED = ("start", "committed", "end", "stored", "duplicate", "dead", "lost", "difference")


class Ledger(msgspec.Struct, frozen=True):
    """The partitions that this process reads. `not_in_log`: accepted events that are not in the log yet.

    `spools`: those of this machine that have lost events.
    """

    partitions: Sequence[status.PartitionLedger]
    not_in_log: int
    spools: Sequence[status.SpoolLedger] = ()

    def with_sums(self) -> status.LedgerStats:
        """Each partition and the sums of all, with what spools have lost; without partitions only the latter."""
        spools = self.spools or msgspec.UNSET
        lost = sum(each.lost for each in self.spools)
        if not self.partitions:
            return status.LedgerStats(lost=lost or msgspec.UNSET, spools=spools)
        sums = {name: sum(getattr(each, name) for each in self.partitions) for name in _SUMMED}
        for name in ("committed", "end", "lost"):
            sums[name] += lost
        in_flight = sum(each.lag for each in self.partitions) + self.not_in_log
        return status.LedgerStats(**sums, in_flight=in_flight, partitions=self.partitions, spools=spools)


def partition_ledger(progress: Progress, end: int) -> status.PartitionLedger:
    """The ledger of a partition; `end` is the offset after its last record."""
    counts, committed = progress.counts, progress.committed
    difference = committed - progress.start - counts.total
    return status.PartitionLedger(
        progress.partition, progress.log_id, progress.start, committed, end,
        counts.stored, counts.duplicate, counts.dead, counts.lost, difference, end - committed,
    )  # fmt: skip


class Stats:
    """The counts of one process."""

    def __init__(
        self, telemetry: Telemetry, channel: Channel, ledger: Callable[[], Ledger], log_bytes: Callable[[], int]
    ) -> None:
        self._telemetry = telemetry
        self._channel = channel
        self._ledger = ledger
        self._log_bytes = log_bytes

    def snapshot(self) -> status.StatsAnswer:
        """The body of GET /stats without tenants, which is also logged."""
        value = self._telemetry.value
        published = int(value("parsec_publish_events_total"))
        failed = int(value("parsec_publish_events_failed_total"))
        spooled = int(value("parsec_spool_events_written_total"))
        ledger = self._ledger()
        drained = int(value("parsec_spool_events_drained_total"))
        return status.StatsAnswer(
            status.WorkerStats(published - drained + spooled + failed, failed),
            status.ProducerStats(published, failed, int(value("parsec_publish_bytes_total"))),
            status.ChannelStats(
                self._channel.buffered_events,
                self._channel.max_events,
                self._channel.buffered_bytes,
                self._channel.max_bytes,
            ),
            status.SpoolStats(
                spooled,
                drained,
                int(value("parsec_spool_events_refused_total")),
                int(value("parsec_spool_waiting_events")),
                sum(each.lost for each in ledger.spools),
            ),
            ledger.with_sums(),
            status.DedupStats(
                int(value("parsec_dedup_conflict_events_total")),
                int(value("parsec_dedup_unavailable_events_total")),
                int(value("parsec_dedup_ids_early_total")),
                value("parsec_dedup_window_seconds"),
            ),
            status.LogStats(self._log_bytes()),
            status.StoreStats(
                int(value("parsec_store_bytes")),
                int(value("parsec_store_max_bytes")),
                *(
                    int(value(f"parsec_store_dropped_{what}_total", reason="max_bytes"))
                    for what in ("events", "dead_letters", "bytes")
                ),
            ),
            started_at=text_of(int(value("process_start_time_seconds") * SECOND)),
            ingest=status.IngestStats(
                int(value("parsec_ingest_events_accepted_total")),
                self._telemetry.events_rejected,
                int(value("parsec_ingest_events_blank_total")),
            ),
        )

    def routes(self) -> list[Route]:
        return [Route("/stats", self.stats), Route("/metrics", self.metrics)]

    async def stats(self, _: Request) -> Response:
        """The snapshot, and the events of each tenant by fate, which are too long for a log line."""
        body = msgspec.structs.replace(self.snapshot(), tenants=self._telemetry.tenants())
        return JsonResponse(body)

    async def metrics(self, request: Request) -> Response:
        """Every metric of docs/metrics.md, in the Prometheus text format, or as OpenMetrics if `Accept` asks for it."""
        self._telemetry.partition_lag.clear()
        self._telemetry.ledger_difference.clear()
        for each in self._ledger().partitions:
            self._telemetry.partition_lag.labels(str(each.partition)).set(each.lag)
            self._telemetry.ledger_difference.labels(str(each.partition)).set(each.difference)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._telemetry.registry), headers={"Content-Type": content_type})


def connect_gauges(telemetry: Telemetry, health: Health, channel: Channel, data_dir: str, disk_reserve: int) -> None:
    """Makes the gauges of channel, disk and readiness read their value when Prometheus asks."""
    telemetry.channel_capacity_events.set(channel.max_events)
    telemetry.channel_capacity_bytes.set(channel.max_bytes)
    telemetry.channel_events.set_function(lambda: channel.buffered_events)
    telemetry.channel_bytes.set_function(lambda: channel.buffered_bytes)
    telemetry.disk_reserve.set(disk_reserve)
    telemetry.disk_free.set_function(lambda: _free_bytes(data_dir))
    telemetry.ready.set_function(lambda: not health.not_ready())


def connect_age_gauge(telemetry: Telemetry, until_ns: Callable[[], int], now_ns: Callable[[], int]) -> None:
    """The same for the age of the newest searchable event, in a process that answers queries."""
    telemetry.searchable_age.set_function(lambda: max(0, now_ns() - until_ns()) / 1e9)


def _free_bytes(directory: str) -> float:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return float("nan")
