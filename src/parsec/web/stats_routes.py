"""GET /stats and /metrics: what this process has done, as JSON and for Prometheus.

The figures of /stats are read back from the metrics, so that the two never disagree.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.ingest.channel import Channel
from parsec.telemetry import Telemetry


class Ledger(msgspec.Struct, frozen=True):
    """What became of every offset: committed - start = stored + duplicate + dead + lost (+ difference, always 0)."""

    start: int
    committed: int
    end: int
    stored: int
    duplicate: int
    dead: int
    lost: int
    difference: int
    in_flight: int


class Stats:
    """The figures of one process."""

    def __init__(
        self, telemetry: Telemetry, channel: Channel, ledger: Callable[[], Ledger | None], log_bytes: Callable[[], int]
    ) -> None:
        self._telemetry = telemetry
        self._channel = channel
        self._ledger = ledger
        self._log_bytes = log_bytes

    def snapshot(self) -> dict[str, Any]:
        """The body of GET /stats; also logged every 30 s."""
        value = self._telemetry.value
        published = int(value("parsec_publish_events_total"))
        failed = int(value("parsec_publish_events_failed_total"))
        ledger = self._ledger()
        return {
            "worker": {"processed": published + failed, "failed": failed},
            "producer": {
                "messages_sent": published,
                "messages_failed": failed,
                "bytes_written": int(value("parsec_publish_bytes_total")),
            },
            "channel": {
                "buffered": self._channel.buffered_events,
                "capacity": self._channel.max_events,
                "buffered_bytes": self._channel.buffered_bytes,
                "capacity_bytes": self._channel.max_bytes,
            },
            "ledger": msgspec.to_builtins(ledger) if ledger else {},
            "log": {"bytes": self._log_bytes()},
        }

    def routes(self) -> list[Route]:
        return [Route("/stats", self.stats), Route("/metrics", self.metrics)]

    async def stats(self, _: Request) -> Response:
        """The snapshot as JSON."""
        return Response(msgspec.json.encode(self.snapshot()), media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Every metric of docs/metrics.md in the Prometheus text format."""
        self._telemetry.channel_events.set(self._channel.buffered_events)
        self._telemetry.channel_bytes.set(self._channel.buffered_bytes)
        return Response(generate_latest(self._telemetry.registry), media_type=CONTENT_TYPE_LATEST)
