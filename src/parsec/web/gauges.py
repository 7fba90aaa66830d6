"""Figures that are looked up when somebody asks for /metrics, and cost nothing between.

In: the parts that know them. Out: gauges of parsec.telemetry that read from these. Errors: none; what cannot be read is
NaN. Next: parsec.web.stats_routes.
"""

import shutil
from collections.abc import Callable

from parsec.ingest.channel import Channel
from parsec.telemetry import Telemetry
from parsec.web.health_routes import Health


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
