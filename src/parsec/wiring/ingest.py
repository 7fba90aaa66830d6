"""The side of a process that takes events in and writes them to the log.

In: the log's writers. Out: the pipeline, its channel and workers. Next: parsec.wiring.web.
"""

import sys
from collections.abc import Sequence

import msgspec

from parsec.adapters.redis.rates import RedisLeases
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.pipeline import Identity, Pipeline, PipelineOptions
from parsec.ingest.policy import PolicyFile, policy_of
from parsec.ingest.rate_lease import RateLease
from parsec.ingest.rate_limits import TenantLimits
from parsec.ingest.worker import CROWD_WAIT_S, SLICE_BYTES, Worker, WorkerOptions
from parsec.service import Part, ThreadPart
from parsec.settings import Settings
from parsec.web.routes.health import channel_check, stage_check
from parsec.wiring.assembly import Assembly
from parsec.wiring.log import LogHandle

GROUP_COMMIT_BYTES = 8 << 20
ACK_TIMEOUT_S = 30.0


class TakingIn(msgspec.Struct, frozen=True):
    """What the other sides need of this one."""

    pipeline: Pipeline
    channel: Channel
    workers: Sequence[Worker]
    parts: Sequence[Part]

    def in_flight(self) -> int:
        """Events between their offer and the log."""
        return self.channel.offered_events - sum(worker.finished_events for worker in self.workers)


def add_taking_in(of: Assembly, log: LogHandle) -> TakingIn:
    """Its own parts start last, so that nothing comes in before it can go on."""
    settings, telemetry, clock = of.settings, of.telemetry, of.clock
    large_bytes = sys.maxsize if settings.kafka_brokers else SLICE_BYTES
    channel = Channel(settings.channel_events, settings.channel_bytes, large_bytes)
    limits = _tenant_limits(of, log)
    options = _pipeline_options(settings)
    pipeline = Pipeline(channel, options, telemetry, clock, of.random, log.max_event_bytes, limits)
    workers = [
        Worker(channel, writer, pipeline.resolve, _worker_options(settings), telemetry, clock, of.fail)
        for writer in log.writers
    ]
    if workers:
        of.checks["channel"] = channel_check(channel)
    names = _names(len(workers))
    for name, worker in zip(names, workers, strict=True):
        of.checks[name] = stage_check(name, worker, settings.stall_after)

    def stop(_: float) -> None:
        channel.close()
        for worker in workers:
            worker.hurry()

    parts: list[Part] = [
        *(ThreadPart(name, worker.run, stop, of.fail, clock) for name, worker in zip(names, workers, strict=True)),
        of.ticker("acks", 1.0, pipeline.expire),
    ]
    return TakingIn(pipeline, channel, workers, parts)


def _tenant_limits(of: Assembly, log: LogHandle) -> TenantLimits:
    """Shared where there is Redis; what keeps them up to date is added to the parts. Raises Fatal."""
    settings = of.settings
    shared = bool(settings.redis_addr and log.writers)
    limits = TenantLimits(policy_of(of.loaded), of.clock, shared=shared)
    if shared:
        leases = RedisLeases(of.redis(), settings.redis_prefix, of.random.bytes(8).hex(), of.clock)
        of.parts.append(RateLease(limits, leases, of.fail))
    of.parts.append(of.ticker("limits", 1.0, PolicyFile(of.loaded, limits.change).tick))
    return limits


def _names(workers: int) -> list[str]:
    """One is `worker`, several have numbers."""
    return ["worker"] if workers == 1 else [f"worker-{number}" for number in range(1, workers + 1)]


def _pipeline_options(settings: Settings) -> PipelineOptions:
    return PipelineOptions(
        Identity(settings.region, settings.node),
        settings.max_request_events,
        settings.max_event_bytes,
        settings.ingest_lenient,
        settings.derive_ids,
        ACK_TIMEOUT_S,
    )


def _worker_options(settings: Settings) -> WorkerOptions:
    crowd_wait_s = min(CROWD_WAIT_S, settings.publish_batch_timeout_ms / 1000)
    if settings.kafka_brokers:
        # The writer tries again by itself, and a request is spooled or refused whole: it is a group of its own.
        limits = BatchLimits(settings.publish_batch_events, GROUP_COMMIT_BYTES)
        return WorkerOptions(limits, attempts=1, group_bytes=0, crowd_wait_s=crowd_wait_s)
    # The embedded log syncs once per publish, so it takes all that waits, however few events a batch should have.
    limits = BatchLimits(sys.maxsize, GROUP_COMMIT_BYTES)
    return WorkerOptions(limits, settings.publish_retries, crowd_wait_s=crowd_wait_s)
