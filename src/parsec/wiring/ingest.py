"""Open the side that accepts events and writes them to the log.

In: settings, the log's writers. Out: an `IngestSide`: the pipeline, its channel and workers. Errors: Fatal.
Next: parsec.wiring.web.

Limits per tenant come from the settings and from tables of the settings file: see parsec.wiring.reload.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence

import msgspec

from parsec.adapters.redis.rates import RedisLeases
from parsec.ingest.admission import Admission
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.pipeline import Identity, Pipeline, PipelineOptions
from parsec.ingest.rate_lease import RateLease
from parsec.ingest.rate_limits import TenantLimits
from parsec.ingest.worker import PUBLISH_SLICE_BYTES, Worker, WorkerOptions
from parsec.loading import Loaded
from parsec.service import Part, ThreadPart
from parsec.settings import Settings
from parsec.web.routes.health import Check, channel_check, stage_check
from parsec.wiring.log import LogHandle
from parsec.wiring.reload import SettingsFile, policy_of
from parsec.wiring.runtime import REDIS_PREFIX, Checks, Runtime, redis_address

GROUP_COMMIT_BYTES = 8 << 20
ACK_TIMEOUT_S = 30.0


class IngestSide(msgspec.Struct, frozen=True):
    """`workers`: none where this process does not ingest. `reload`: reads the settings file again."""

    pipeline: Pipeline
    admission: Admission
    channel: Channel
    workers: Sequence[Worker]
    parts: Sequence[Part]
    checks: Checks
    reload: Callable[[], None]


def open_ingest(loaded: Loaded, runtime: Runtime, log: LogHandle) -> IngestSide:
    """A channel, and one worker for each writer of the log. Raises Fatal."""
    settings = loaded.settings
    large_bytes = sys.maxsize if settings.kafka_brokers else PUBLISH_SLICE_BYTES
    channel = Channel(settings.channel_events, settings.channel_bytes, large_bytes, asyncio.get_running_loop())
    limits, parts, reload = _tenant_limits(loaded, runtime, shared=bool(settings.redis_addr and log.writers))
    closed_because = log.writers[0].refuses if log.writers else log.refuses
    admission = Admission(channel, limits, settings.ingest_memory, closed_because)
    pipeline = Pipeline(
        admission, _pipeline_options(settings), runtime.telemetry, runtime.clock, runtime.random, log.max_event_bytes
    )
    options = _worker_options(settings)
    workers = [
        Worker(channel, writer, options, runtime.telemetry, runtime.clock, runtime.fail) for writer in log.writers
    ]

    def stop(_: float) -> None:
        channel.close()
        for worker in workers:
            worker.begin_shutdown()

    checks: dict[str, Callable[[], Check]] = {"channel": channel_check(channel)} if workers else {}
    for number, worker in enumerate(workers, 1):
        name = "worker" if len(workers) == 1 else f"worker-{number}"
        checks[name] = stage_check(name, worker)
        parts.append(ThreadPart(name, worker.run, stop, runtime.fail, runtime.clock))
    parts.append(runtime.ticker("acks", 1.0, pipeline.tick))
    return IngestSide(pipeline, admission, channel, workers, parts, checks, reload)


def _tenant_limits(
    loaded: Loaded, runtime: Runtime, *, shared: bool
) -> tuple[TenantLimits, list[Part], Callable[[], None]]:
    """The limits, their parts, and how to reload them. `shared`: leased from Redis. Raises Fatal."""
    limits = TenantLimits(policy_of(loaded), runtime.clock, shared=shared)
    file = SettingsFile(loaded, limits.change)
    parts: list[Part] = [runtime.ticker("tenant-limits", 1.0, file.reload_if_changed)]
    if shared:
        holder = runtime.random.bytes(8).hex()
        leases = RedisLeases(redis_address(loaded.settings), REDIS_PREFIX, holder, runtime.clock)
        parts.append(RateLease(limits, leases, runtime.fail))
    return limits, parts, file.reload


def _pipeline_options(settings: Settings) -> PipelineOptions:
    return PipelineOptions(
        Identity(settings.region, settings.node), settings.max_request_events, settings.max_event_bytes,
        settings.ingest_lenient, settings.derive_ids, ACK_TIMEOUT_S, settings.strict_severity,
    )  # fmt: skip


def _worker_options(settings: Settings) -> WorkerOptions:
    if settings.kafka_brokers:
        # The writer tries again by itself, and a request is spooled or refused whole: it is a group of its own.
        fill_wait_s = settings.publish_batch_timeout_ms / 1000
        limits = BatchLimits(settings.publish_batch_events, GROUP_COMMIT_BYTES, fill_wait_s)
        return WorkerOptions(limits, attempts=1, group_bytes=0)
    # The embedded log syncs once per publish, so it takes all that waits, however few events a batch should have.
    limits = BatchLimits(sys.maxsize, GROUP_COMMIT_BYTES)
    return WorkerOptions(limits, settings.publish_retries)
