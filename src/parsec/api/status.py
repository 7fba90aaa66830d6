"""The answers of GET /health, /livez, /readyz and /stats."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

HealthStatus = Literal["healthy", "degraded", "unhealthy"]


class HealthAnswer(msgspec.Struct, frozen=True):
    """`checks`: each part with its `status`, `why` unless it is healthy, and details.

    Where keys are in use, only an admin key is shown `phase` and `checks`.
    """

    status: HealthStatus
    timestamp: str
    phase: str | msgspec.UnsetType = msgspec.UNSET
    checks: Mapping[str, Mapping[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class LivenessAnswer(msgspec.Struct, frozen=True):
    """`why`: the parts that only a restart can help."""

    alive: bool
    why: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET


class ReadinessAnswer(msgspec.Struct, frozen=True):
    """`why`: the parts that are not ready; `life`: the process itself starts or stops."""

    ready: bool
    why: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET


class WorkerStats(msgspec.Struct, frozen=True):
    """Events that workers have finished with, and those among them that could not be made durable."""

    processed: int
    failed: int


class IngestStats(msgspec.Struct, frozen=True):
    """Events by verdict. `blank`: without message and metadata, not stored."""

    accepted: int
    rejected: int
    blank: int


class ProducerStats(msgspec.Struct, frozen=True):
    """Events that Kafka, or without Kafka the embedded log, has acknowledged; each event once."""

    messages_sent: int
    messages_failed: int
    bytes_written: int


class ChannelStats(msgspec.Struct, frozen=True):
    """Events and bytes that wait for a worker."""

    buffered: int
    capacity: int
    buffered_bytes: int
    capacity_bytes: int


class SpoolStats(msgspec.Struct, frozen=True):
    """Events that this machine kept while Kafka did not answer. `lost`: of all time, the rest since the start."""

    written: int
    drained: int
    refused: int
    waiting: int
    lost: int = 0


class LostSpan(msgspec.Struct, frozen=True):
    """Offsets first..end-1 of a spool. All of their events were accepted before `found_at`."""

    first: int
    end: int
    found_at: str


class SpoolLedger(msgspec.Struct, frozen=True):
    """The events that a spool of this machine has lost, all of them in `lost`, the latest hundred gaps in `where`.

    `counted_to`: the offset up to which losses were counted.
    """

    spool: str
    log_id: str
    lost: int
    counted_to: int
    where: Sequence[LostSpan]


class DedupStats(msgspec.Struct, frozen=True):
    """Repeated ids since the start of the process.

    `conflicts`: duplicates with other content. `unchecked`: events stored while Redis did not answer. `early`: ids
    forgotten for lack of room.
    """

    conflicts: int
    unchecked: int
    early: int
    window_s: float


class LogStats(msgspec.Struct, frozen=True):
    """The files of the embedded log."""

    bytes: int


class StoreStats(msgspec.Struct, frozen=True):
    """The size of the store when it was last measured, its bound PARSEC_STORE_MAX_BYTES (0: none, and no measurement),
    and what this process has dropped to stay below the bound."""

    bytes: int
    max_bytes: int
    dropped_events: int
    dropped_dead_letters: int
    dropped_bytes: int


class PartitionLedger(msgspec.Struct, frozen=True):
    """The fate of a partition's offsets: committed - start = stored + duplicate + dead + lost, `difference` is 0."""

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


class LedgerStats(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The sums of the partitions that this process reads, and each of them; empty when it reads none.

    `in_flight`: accepted events that are not committed yet. `spools`: those of this machine that have lost events; each
    event that they lost is in the sums as a committed offset that is `lost`.
    """

    start: int | msgspec.UnsetType = msgspec.UNSET
    committed: int | msgspec.UnsetType = msgspec.UNSET
    end: int | msgspec.UnsetType = msgspec.UNSET
    stored: int | msgspec.UnsetType = msgspec.UNSET
    duplicate: int | msgspec.UnsetType = msgspec.UNSET
    dead: int | msgspec.UnsetType = msgspec.UNSET
    lost: int | msgspec.UnsetType = msgspec.UNSET
    difference: int | msgspec.UnsetType = msgspec.UNSET
    in_flight: int | msgspec.UnsetType = msgspec.UNSET
    partitions: Sequence[PartitionLedger] | msgspec.UnsetType = msgspec.UNSET
    spools: Sequence[SpoolLedger] | msgspec.UnsetType = msgspec.UNSET


class StatsAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The work of a process since its start, `started_at` (RFC 3339; Linux only). `tenants`: for each tenant its events
    by fate."""

    worker: WorkerStats
    producer: ProducerStats
    channel: ChannelStats
    spool: SpoolStats
    ledger: LedgerStats
    dedup: DedupStats
    log: LogStats
    store: StoreStats
    ingest: IngestStats | msgspec.UnsetType = msgspec.UNSET
    tenants: dict[str, dict[str, int]] | msgspec.UnsetType = msgspec.UNSET
    started_at: str = ""


class KeylessSender(msgspec.Struct, frozen=True):
    """Requests that came without an API key, of one tenant, address and program; a request with events of several
    tenants counts for each, up to ten. `tenant` is empty where none is named."""

    tenant: str
    address: str
    user_agent: str
    requests: int


class KeylessAnswer(msgspec.Struct, frozen=True):
    """Who sent without a key in the last `minutes`, as far as it was served; `others`: requests of senders that are not
    listed. `auth`: PARSEC_AUTH. `keys_file`: the file whose first key would require one of them."""

    auth: Literal["required", "warn", "off"]
    keys_file: str
    minutes: int
    requests: int
    senders: Sequence[KeylessSender]
    others: int
