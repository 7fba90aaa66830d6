"""GET /stats and /metrics: what this process has done, as JSON and for Prometheus.

The figures of /stats are read back from the metrics, so that the two never disagree.
"""

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api.status import (
    ChannelStats,
    DedupStats,
    LogStats,
    ProducerStats,
    SpoolStats,
    StatsAnswer,
    StoreStats,
    WorkerStats,
)
from parsec.ingest.channel import Channel
from parsec.ports.broker import Progress
from parsec.telemetry import Telemetry
from parsec.web.responses import JsonResponse
from parsec.web.routes.health import Health


class PartitionLedger(msgspec.Struct, frozen=True):
    """What became of every offset: committed - start = stored + duplicate + dead + lost (+ difference, always 0)."""

    partition: int
    log_id: str
    start: int
    committed: int
    end: int
    stored: int
    duplicate: int
    dead: int
    lost: int
    difference: int
    lag: int

    @classmethod
    def of(cls, progress: Progress, end: int) -> "PartitionLedger":
        counts, committed = progress.counts, progress.committed
        difference = committed - progress.start - counts.total
        return cls(
            progress.partition, progress.log_id, progress.start, committed, end,
            counts.stored, counts.duplicate, counts.dead, counts.lost, difference, end - committed,
        )  # fmt: skip


class Ledger(msgspec.Struct, frozen=True):
    """Of the partitions that this process reads; `not_in_log`: events taken in that are not in the log yet."""

    partitions: Sequence[PartitionLedger]
    not_in_log: int

    def told(self) -> dict[str, Any]:
        """Each partition, and the sums of all."""
        if not self.partitions:
            return {}
        summed = ("start", "committed", "end", "stored", "duplicate", "dead", "lost", "difference")
        sums = {name: sum(getattr(each, name) for each in self.partitions) for name in summed}
        return {
            **sums,
            "in_flight": sum(each.lag for each in self.partitions) + self.not_in_log,
            "partitions": msgspec.to_builtins(self.partitions),
        }


class Stats:
    """The figures of one process."""

    def __init__(
        self, telemetry: Telemetry, channel: Channel, ledger: Callable[[], Ledger], log_bytes: Callable[[], int]
    ) -> None:
        self._telemetry = telemetry
        self._channel = channel
        self._ledger = ledger
        self._log_bytes = log_bytes

    def snapshot(self) -> StatsAnswer:
        """The body of GET /stats but for tenants; also logged every 30 s."""
        value = self._telemetry.value
        published = int(value("parsec_publish_events_total"))
        failed = int(value("parsec_publish_events_failed_total"))
        spooled = int(value("parsec_spool_events_written_total"))
        drained = int(value("parsec_spool_events_drained_total"))
        return StatsAnswer(
            WorkerStats(published - drained + spooled + failed, failed),
            ProducerStats(published, failed, int(value("parsec_publish_bytes_total"))),
            ChannelStats(
                self._channel.buffered_events,
                self._channel.max_events,
                self._channel.buffered_bytes,
                self._channel.max_bytes,
            ),
            SpoolStats(
                spooled,
                drained,
                int(value("parsec_spool_events_refused_total")),
                int(value("parsec_spool_waiting_events")),
            ),
            self._ledger().told(),
            DedupStats(
                int(value("parsec_dedup_conflict_events_total")),
                int(value("parsec_dedup_unavailable_events_total")),
                int(value("parsec_dedup_ids_early_total")),
                value("parsec_dedup_window_seconds"),
            ),
            LogStats(self._log_bytes()),
            StoreStats(
                int(value("parsec_store_bytes")),
                int(value("parsec_store_max_bytes")),
                *(
                    int(value(f"parsec_store_dropped_{what}_total", reason="max_bytes"))
                    for what in ("events", "dead_letters", "bytes")
                ),
            ),
        )

    def routes(self) -> list[Route]:
        return [Route("/stats", self.stats), Route("/metrics", self.metrics)]

    async def stats(self, _: Request) -> Response:
        """The snapshot as JSON, and what became of each tenant's events, which would make a long line of a log."""
        body = msgspec.structs.replace(self.snapshot(), tenants=self._telemetry.tenants())
        return JsonResponse(body)

    async def metrics(self, request: Request) -> Response:
        """Every metric of docs/metrics.md in the Prometheus text format, or as OpenMetrics to whoever asks for it."""
        self._telemetry.partition_lag.clear()
        self._telemetry.ledger_difference.clear()
        for each in self._ledger().partitions:
            self._telemetry.partition_lag.labels(str(each.partition)).set(each.lag)
            self._telemetry.ledger_difference.labels(str(each.partition)).set(each.difference)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._telemetry.registry), headers={"Content-Type": content_type})


def read_when_asked(telemetry: Telemetry, health: Health, channel: Channel, data_dir: str, disk_reserve: int) -> None:
    """Channel, disk, readiness."""
    telemetry.channel_capacity_events.set(channel.max_events)
    telemetry.channel_capacity_bytes.set(channel.max_bytes)
    telemetry.channel_events.set_function(lambda: channel.buffered_events)
    telemetry.channel_bytes.set_function(lambda: channel.buffered_bytes)
    telemetry.disk_reserve.set(disk_reserve)
    telemetry.disk_free.set_function(lambda: _free_bytes(data_dir))
    telemetry.ready.set_function(lambda: not health.not_ready())


def read_age(telemetry: Telemetry, until_ns: Callable[[], int], now_ns: Callable[[], int]) -> None:
    """How far answers lag behind; only where there is something that answers."""
    telemetry.searchable_age.set_function(lambda: max(0, now_ns() - until_ns()) / 1e9)


def _free_bytes(directory: str) -> float:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return float("nan")
