"""Every setting once: name, type, default, range, help. Flags, environment, the settings file, docs/settings.md and
`parsec check-config` are all made from this list.

In: nothing. Out: `Settings`, frozen, and the catalogue of them. Next: parsec.loading.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from parsec.core.units import Unit

ROLES = frozenset({"ingest", "process", "query"})


class Spec(msgspec.Struct, frozen=True):
    """What is said about a setting beside its type and default."""

    env: str
    help: str
    unit: Unit = ""
    minimum: float | None = None
    maximum: float | None = None
    secret: bool = False
    per_tenant: bool = False
    """May stand in a table `[tenants.<name>]` of the file, too, and is read again when the file changes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, typed. Sizes are in bytes, times in seconds unless the name says otherwise."""

    # Where and as what this process runs.
    host: Annotated[str, Spec("PARSEC_HOST", "Address to listen on. Without API keys only a loopback address.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Spec("PARSEC_PORT", "Port to listen on; 0 picks a free one.", "", 0, 65535)] = 8080
    data_dir: Annotated[
        str, Spec("PARSEC_DATA_DIR", "Directory of the log, the store and small state. One process at a time.")
    ] = "./data"
    role: Annotated[
        str,
        Spec(
            "PARSEC_ROLE",
            "What this process does: all, or any of ingest, process and query with commas between. Anything but all "
            "needs Kafka, and a ClickHouse server unless it only ingests.",
        ),
    ] = "all"
    keys_file: Annotated[
        str,
        Spec("PARSEC_KEYS_FILE", "File of the API keys, see `parsec keys`; empty: keys.toml in the data directory."),
    ] = ""
    auth: Annotated[
        Literal["keys", "off"],
        Spec(
            "PARSEC_AUTH",
            "Ask for API keys once there are some; off: never, whoever reaches the address may do anything.",
        ),
    ] = "keys"
    tls_certificate: Annotated[
        str,
        Spec("PARSEC_TLS_CERTIFICATE", "File of the certificate, with its chain, to speak TLS; read again on change."),
    ] = ""
    tls_key: Annotated[str, Spec("PARSEC_TLS_KEY", "File of the certificate's key, without a password.")] = ""
    region: Annotated[str, Spec("PARSEC_REGION", "Region written into every event.")] = "local"
    node: Annotated[str, Spec("PARSEC_NODE", "Node name written into every event; default: the host's name.")] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Spec("PARSEC_LOG_LEVEL", "Least severe line that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Spec("PARSEC_LOG_FORMAT", "Log lines as JSON or for people; auto: for people on a terminal."),
    ] = "auto"
    stats_interval: Annotated[
        float, Spec("PARSEC_STATS_INTERVAL", "Time between two stats lines in the log.", "seconds", 1, 3600)
    ] = 30.0

    # What a request may be.
    max_body_bytes: Annotated[
        int,
        Spec("PARSEC_MAX_BODY_BYTES", "Largest request body, before and after decompression.", "bytes", 1024, 1 << 30),
    ] = 16 << 20
    max_event_bytes: Annotated[
        int, Spec("PARSEC_MAX_EVENT_BYTES", "Largest encoded event.", "bytes", 1024, 16 << 20)
    ] = 256 << 10
    max_request_events: Annotated[
        int, Spec("PARSEC_MAX_REQUEST_EVENTS", "Most events in one request.", "", 1, 1_000_000)
    ] = 10_000
    ingest_lenient: Annotated[
        bool,
        Spec("PARSEC_INGEST_LENIENT", "Fill in a missing timestamp (receipt), severity (info), source (unknown)."),
    ] = False
    derive_ids: Annotated[
        Literal["body", "random"],
        Spec(
            "PARSEC_DERIVE_IDS", "Ids for events without one: from the body, so that a retry is recognised, or random."
        ),
    ] = "body"

    # What a client may do, whatever it asks for.
    max_connections: Annotated[
        int,
        Spec(
            "PARSEC_MAX_CONNECTIONS",
            "Most open connections; as many as the limit on open files allows, if that is less.",
            "",
            1,
            1_000_000,
        ),
    ] = 4096
    max_connections_per_address: Annotated[
        int,
        Spec(
            "PARSEC_MAX_CONNECTIONS_PER_ADDRESS",
            "Most open connections of one client address (of IPv6: /64 network); 0: no limit. Not behind a proxy.",
            "",
            0,
            1_000_000,
        ),
    ] = 0
    max_requests_per_address: Annotated[
        float,
        Spec(
            "PARSEC_MAX_REQUESTS_PER_ADDRESS",
            "Most requests per second of one client address, with bursts of as many; 0: no limit. Not behind a proxy.",
            "",
            0,
            1e9,
        ),
    ] = 0.0
    cors_origins: Annotated[
        str,
        Spec(
            "PARSEC_CORS_ORIGINS",
            "Origins whose pages may use Parsec in a browser, as https://ui.example.com, with commas between; *: any.",
        ),
    ] = ""
    max_head_bytes: Annotated[
        int, Spec("PARSEC_MAX_HEAD_BYTES", "Largest head of a request: address and headers.", "bytes", 4096, 1 << 20)
    ] = 32 << 10
    max_url_bytes: Annotated[
        int, Spec("PARSEC_MAX_URL_BYTES", "Longest address of a request.", "bytes", 256, 1 << 20)
    ] = 16 << 10
    head_timeout: Annotated[
        float, Spec("PARSEC_HEAD_TIMEOUT", "Longest time the head of a request may take to arrive.", "seconds", 1, 3600)
    ] = 10.0
    body_timeout: Annotated[
        float, Spec("PARSEC_BODY_TIMEOUT", "Longest time a body may take to arrive.", "seconds", 1, 3600)
    ] = 60.0
    min_rate: Annotated[
        float,
        Spec(
            "PARSEC_MIN_RATE",
            "Bytes per second that a body must bring, on average once 5 s have passed, and that a client must take of "
            "an answer; 0: any.",
            "",
            0,
            1e9,
        ),
    ] = 256.0
    send_timeout: Annotated[
        float,
        Spec(
            "PARSEC_SEND_TIMEOUT",
            "How long a client may take less of its answer than PARSEC_MIN_RATE before it is cut off.",
            "seconds",
            1,
            3600,
        ),
    ] = 30.0

    # The channel between HTTP and the workers.
    channel_events: Annotated[
        int,
        Spec(
            "PARSEC_CHANNEL_EVENTS",
            "Events that may wait for a worker; as many again of tenants with few.",
            "",
            1,
            10_000_000,
        ),
    ] = 10_000
    channel_bytes: Annotated[
        int,
        Spec(
            "PARSEC_CHANNEL_BYTES",
            "Bytes that may wait for a worker; as many again of tenants with few.",
            "bytes",
            1 << 16,
            1 << 36,
        ),
    ] = 64 << 20
    ingest_memory: Annotated[
        int,
        Spec(
            "PARSEC_INGEST_MEMORY",
            "Bytes of request bodies in hand at once; a quarter more of tenants with few.",
            "bytes",
            1 << 20,
            1 << 36,
        ),
    ] = 128 << 20

    # What one tenant may send.
    limit_events_per_s: Annotated[
        float,
        Spec("PARSEC_LIMIT_EVENTS_PER_S", "Events per second of one tenant; 0: no limit.", "", 0, 1e9, per_tenant=True),
    ] = 0.0
    limit_events_burst: Annotated[
        float,
        Spec(
            "PARSEC_LIMIT_EVENTS_BURST",
            "Events that a tenant may send at once after a rest; 0: as many as in two seconds.",
            "",
            0,
            1e10,
            per_tenant=True,
        ),
    ] = 0.0
    limit_bytes_per_s: Annotated[
        float,
        Spec(
            "PARSEC_LIMIT_BYTES_PER_S",
            "Bytes per second of one tenant, in bodies after decompression; 0: no limit.",
            "bytes",
            0,
            1 << 40,
            per_tenant=True,
        ),
    ] = 0.0
    limit_bytes_burst: Annotated[
        float,
        Spec(
            "PARSEC_LIMIT_BYTES_BURST",
            "Bytes that a tenant may send at once after a rest; 0: as many as in two seconds.",
            "bytes",
            0,
            1 << 44,
            per_tenant=True,
        ),
    ] = 0.0

    # From the channel to the log.
    publish_batch_events: Annotated[
        int,
        Spec(
            "KAFKA_BATCH_SIZE",
            "Events that close a publish batch; the embedded log takes all that waits, up to 8 MiB.",
            "",
            1,
            100_000,
        ),
    ] = 100
    publish_batch_timeout_ms: Annotated[
        int,
        Spec(
            "KAFKA_BATCH_TIMEOUT_MS",
            "Upper bound on the wait for a batch to fill: 2 ms at most, after a batch of 16 requests or more; 0: none.",
            "milliseconds",
            0,
            60_000,
        ),
    ] = 100
    publish_retries: Annotated[
        int, Spec("KAFKA_MAX_RETRIES", "Attempts to publish before an event is given up for this request.", "", 1, 100)
    ] = 3

    # Kafka.
    kafka_brokers: Annotated[
        str, Spec("KAFKA_BROKERS", "Addresses to find the cluster by, with commas between; empty: the embedded log.")
    ] = ""
    kafka_topic: Annotated[str, Spec("KAFKA_TOPIC", "Topic of the events; made when it is missing.")] = "log-events"
    topic_partitions: Annotated[
        int, Spec("PARSEC_TOPIC_PARTITIONS", "Partitions of a topic that is made.", "", 1, 10_000)
    ] = 12
    topic_replication: Annotated[
        int,
        Spec("PARSEC_TOPIC_REPLICATION", "Replicas of a topic that is made; -1: as the cluster has it.", "", -1, 32),
    ] = -1
    kafka_pool: Annotated[int, Spec("KAFKA_POOL_SIZE", "Workers, each with its own producer.", "", 1, 64)] = 4
    kafka_compression: Annotated[
        Literal["snappy", "gzip", "lz4", "zstd", "none"], Spec("KAFKA_COMPRESSION", "How batches are compressed.")
    ] = "snappy"
    kafka_group: Annotated[
        str, Spec("KAFKA_CONSUMER_GROUP", "Consumer group of the processors; they share its partitions.")
    ] = "parsec-processor"
    publish_deadline: Annotated[
        float,
        Spec(
            "PARSEC_PUBLISH_DEADLINE", "Longest wait for Kafka's acknowledgement, retries included.", "seconds", 0.1, 60
        ),
    ] = 2.0
    kafka_tls: Annotated[bool, Spec("PARSEC_KAFKA_TLS", "Speak TLS with the brokers.")] = False
    kafka_ca: Annotated[str, Spec("PARSEC_KAFKA_CA", "File of the authorities to trust; empty: the system's.")] = ""
    kafka_certificate: Annotated[
        str, Spec("PARSEC_KAFKA_CERTIFICATE", "File of our certificate, for brokers that ask for one.")
    ] = ""
    kafka_key: Annotated[str, Spec("PARSEC_KAFKA_KEY", "File of the certificate's key.")] = ""
    kafka_sasl: Annotated[
        Literal["none", "plain", "scram-sha-256", "scram-sha-512"],
        Spec("PARSEC_KAFKA_SASL", "How the user proves itself to the brokers."),
    ] = "none"
    kafka_user: Annotated[str, Spec("PARSEC_KAFKA_USER", "User for SASL.")] = ""
    kafka_password: Annotated[str, Spec("PARSEC_KAFKA_PASSWORD", "Password for SASL.", secret=True)] = ""
    kafka_options: Annotated[
        str,
        Spec("PARSEC_KAFKA_OPTIONS", "More options for librdkafka: name=value, with commas between.", secret=True),
    ] = ""

    # The spool, for events that Kafka does not acknowledge.
    spool: Annotated[
        bool, Spec("PARSEC_SPOOL", "Keep events on this machine while Kafka does not answer; off: answer 503 instead.")
    ] = True
    spool_max_bytes: Annotated[
        int, Spec("PARSEC_SPOOL_MAX_BYTES", "Bound on the spool's files.", "bytes", 1 << 18, 1 << 44)
    ] = 8 << 30
    spool_drain_rate: Annotated[
        float,
        Spec("PARSEC_SPOOL_DRAIN_RATE", "Events per second that the spool gives to Kafka beside new ones.", "", 1, 1e9),
    ] = 20_000.0

    # The embedded log.
    segment_bytes: Annotated[
        int, Spec("PARSEC_SEGMENT_BYTES", "Size at which a log segment is closed.", "bytes", 1 << 16, 1 << 32)
    ] = 128 << 20
    log_max_bytes: Annotated[
        int,
        Spec(
            "PARSEC_LOG_MAX_BYTES",
            "Bound on the log's files; unread segments are never deleted, ingest answers 503 instead.",
            "bytes",
            1 << 18,
            1 << 44,
        ),
    ] = 8 << 30
    log_retention: Annotated[
        float,
        Spec(
            "PARSEC_LOG_RETENTION",
            "How long segments that the processor has read are kept.",
            "seconds",
            0,
            10 * 365 * 86400.0,
        ),
    ] = 3600.0
    disk_reserve: Annotated[
        int,
        Spec(
            "PARSEC_DISK_RESERVE",
            "Free bytes below which ingest answers 503, so that the processor can drain.",
            "bytes",
            0,
            1 << 44,
        ),
    ] = 512 << 20

    # The processor and the store.
    storage_backend: Annotated[
        Literal["embedded", "clickhouse"],
        Spec("STORAGE_BACKEND", "Where events are stored: in this process, or on a ClickHouse server."),
    ] = "embedded"
    clickhouse_url: Annotated[
        str, Spec("CLICKHOUSE_URL", "Address of the ClickHouse server's HTTP interface: http://host:8123.")
    ] = ""
    clickhouse_user: Annotated[str, Spec("CLICKHOUSE_USER", "User of the ClickHouse server.")] = "default"
    clickhouse_password: Annotated[
        str, Spec("CLICKHOUSE_PASSWORD", "Password for the ClickHouse server.", secret=True)
    ] = ""
    clickhouse_database: Annotated[
        str, Spec("CLICKHOUSE_DATABASE", "Database on the ClickHouse server; made when it is missing.")
    ] = "parsec"
    process_batch_events: Annotated[
        int, Spec("PARSEC_PROCESS_BATCH_EVENTS", "Most events in one insert.", "", 1, 1_000_000)
    ] = 20_000
    process_batch_bytes: Annotated[
        int, Spec("PARSEC_PROCESS_BATCH_BYTES", "Most bytes in one insert.", "bytes", 1 << 16, 1 << 30)
    ] = 16 << 20
    process_linger_ms: Annotated[
        int,
        Spec(
            "PARSEC_PROCESS_LINGER_MS",
            "Longest wait for an insert to fill, times the partitions that have events waiting.",
            "milliseconds",
            0,
            60_000,
        ),
    ] = 500
    retention: Annotated[
        float,
        Spec("PARSEC_RETENTION", "How long events are kept, from their receipt.", "seconds", 3600, 100 * 365 * 86400.0),
    ] = 30 * 86400.0
    store_max_bytes: Annotated[
        int,
        Spec(
            "PARSEC_STORE_MAX_BYTES",
            "Bytes on disk above which the store's oldest day of receipt goes, never today; 0: no bound.",
            "bytes",
            0,
            1 << 50,
        ),
    ] = 0
    query_timeout: Annotated[float, Spec("PARSEC_QUERY_TIMEOUT", "Deadline of one query.", "seconds", 0.1, 3600)] = 30.0
    query_memory: Annotated[
        int, Spec("PARSEC_QUERY_MEMORY", "Memory one query may use.", "bytes", 1 << 24, 1 << 40)
    ] = 1 << 30
    query_rows: Annotated[int, Spec("PARSEC_QUERY_ROWS", "Events one query may read; 0: no bound.", "", 0, 1 << 62)] = (
        2_000_000_000
    )
    query_bytes: Annotated[
        int, Spec("PARSEC_QUERY_BYTES", "Bytes one query may read, uncompressed; 0: no bound.", "bytes", 0, 1 << 60)
    ] = 256 << 30
    tails_per_tenant: Annotated[
        int, Spec("PARSEC_TAILS_PER_TENANT", "Readers of live events (GET /query/tail) of one tenant.", "", 0, 10_000)
    ] = 50
    tails: Annotated[
        int, Spec("PARSEC_TAILS", "Readers of live events of all tenants, in one process.", "", 0, 10_000)
    ] = 200
    tail_bytes: Annotated[
        int,
        Spec("PARSEC_TAIL_BYTES", "Events that wait for one slow reader; the oldest go first.", "bytes", 1024, 1 << 30),
    ] = 256 << 10
    dedup_window: Annotated[
        float,
        Spec(
            "PARSEC_DEDUP_WINDOW",
            "How long a repeated id is recognised and stored once, by time of receipt.",
            "seconds",
            1,
            86_400,
        ),
    ] = 600.0
    dedup_ids: Annotated[
        int,
        Spec(
            "PARSEC_DEDUP_IDS",
            "Ids that are held at least; with more in a window, the oldest leave early, which is counted.",
            "",
            1000,
            100_000_000,
        ),
    ] = 1_000_000

    # Redis.
    redis_addr: Annotated[
        str,
        Spec(
            "REDIS_ADDR",
            "Redis server as host:port, to share claims of ids and limits of tenants; empty: each process has its own.",
        ),
    ] = ""
    redis_username: Annotated[str, Spec("REDIS_USERNAME", "User of the Redis server.")] = ""
    redis_password: Annotated[str, Spec("REDIS_PASSWORD", "Password for the Redis server.", secret=True)] = ""
    redis_tls: Annotated[bool, Spec("REDIS_TLS", "Talk TLS to the Redis server; its certificate is verified.")] = False
    redis_db: Annotated[int, Spec("REDIS_DB", "Number of the Redis database.", "", 0, 1_000_000)] = 0
    redis_prefix: Annotated[str, Spec("REDIS_PREFIX", "What every key in Redis begins with.")] = "parsec:"

    # Life.
    drain: Annotated[
        float, Spec("PARSEC_DRAIN_S", "Wait between /readyz turning false and closing the listener.", "seconds", 0, 600)
    ] = 0.0
    shutdown_timeout: Annotated[
        float, Spec("PARSEC_SHUTDOWN_TIMEOUT_S", "Longest time a stop may take.", "seconds", 1, 3600)
    ] = 30.0
    stall_after: Annotated[
        float,
        Spec(
            "PARSEC_STALL_AFTER",
            "A stage that has work and makes no progress for this long is not ready.",
            "seconds",
            1,
            3600,
        ),
    ] = 30.0

    @property
    def origins(self) -> tuple[str, ...]:
        """The parts of `cors_origins`."""
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def roles(self) -> frozenset[str]:
        """What this process does, of ROLES."""
        return ROLES if self.role == "all" else frozenset(name.strip() for name in self.role.split(","))

    @property
    def keys_path(self) -> Path | None:
        """Where API keys stand; None: they do not matter."""
        return None if self.auth == "off" else self.keys_place

    @property
    def keys_place(self) -> Path:
        """The same, whether they matter or not."""
        return Path(self.keys_file) if self.keys_file else Path(self.data_dir) / "keys.toml"


class Setting(msgspec.Struct, frozen=True):
    """One setting as the outside sees it."""

    name: str
    env: str
    flag: str
    type: Any
    default: Any
    spec: Spec


def catalogue() -> tuple[Setting, ...]:
    """All settings in the order of the class."""
    hints = get_type_hints(Settings, include_extras=True)
    settings = []
    for field in msgspec.structs.fields(Settings):
        kind, spec = get_args(hints[field.name])
        flag = "--" + spec.env.removeprefix("PARSEC_").lower().replace("_", "-")
        settings.append(Setting(field.name, spec.env, flag, kind, field.default, spec))
    return tuple(settings)
