"""Every setting once: name, type, default, range, help. Flags, environment, the settings file, docs/settings.md and
`parsec check-config` are all made from this list.

In: nothing. Out: `Settings`, frozen, and the catalogue of them. Next: parsec.loading.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from parsec.api.event_rules import MAX_EVENT_BYTES
from parsec.core.units import Unit

ROLES = frozenset({"ingest", "process", "query"})


class Spec(msgspec.Struct, frozen=True):
    """The declaration of a setting beside its type and default. `limits`: of a number, both inclusive."""

    env: str
    help: str
    unit: Unit = ""
    limits: tuple[float, float] | None = None
    secret: bool = False
    former: tuple[tuple[str, str], ...] = ()
    """Former names of values, and what they are called now."""
    per_tenant: bool = False
    """May stand in a table `[tenants.<name>]` of the file, too, and is read again when the file changes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, typed. Sizes are in bytes, times in seconds unless the name says otherwise."""

    # A table: the formatter would need ten lines for each row.
    # fmt: off

    # The process.
    host: Annotated[str, Spec(
        "PARSEC_HOST", "Address to listen on. Without API keys it must be a loopback address.")] = "127.0.0.1"
    port: Annotated[int, Spec("PARSEC_PORT", "Port to listen on. 0 picks a free port.", limits=(0, 65535))] = 8080
    data_dir: Annotated[str, Spec(
        "PARSEC_DATA_DIR", "Directory of the log, the store and small state. Only one process at a time can use "
        "it.")] = "./data"
    role: Annotated[str, Spec(
        "PARSEC_ROLE", "What this process does: all, or any of ingest, process and query, separated by commas. "
        "Anything but all needs Kafka and, unless it is ingest alone, a ClickHouse server.")] = "all"
    keys_file: Annotated[str, Spec(
        "PARSEC_KEYS_FILE", "File of the API keys, see `parsec keys`. Empty: keys.toml in the data directory.")] = ""
    auth: Annotated[Literal["required", "warn", "off"], Spec(
        "PARSEC_AUTH", "Whether API keys are needed. required: as soon as the keys file has one. warn: requests from "
        "this machine without a key are still served, logged and counted. off: never, so that anyone who reaches the "
        "address may do anything.", former=(("keys", "required"),))] = "required"
    tls_certificate: Annotated[str, Spec(
        "PARSEC_TLS_CERTIFICATE", "PEM file of the TLS certificate with its chain. Reloaded when it changes.")] = ""
    tls_key: Annotated[str, Spec(
        "PARSEC_TLS_KEY", "PEM file of the certificate's private key, without a password.")] = ""
    region: Annotated[str, Spec("PARSEC_REGION", "Name of the region, written into every event.")] = "local"
    node: Annotated[str, Spec("PARSEC_NODE", "Name of the node, written into every event. Empty: the host name.")] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Spec(
        "PARSEC_LOG_LEVEL", "Lowest level of log lines. debug logs every request.")] = "info"
    log_format: Annotated[Literal["auto", "json", "console"], Spec(
        "PARSEC_LOG_FORMAT", "Format of log lines. auto: console on a terminal, otherwise JSON.")] = "auto"

    # Requests and clients.
    max_body_bytes: Annotated[int, Spec(
        "PARSEC_MAX_BODY_BYTES", "Largest request body, before and after decompression.",
        "bytes", (1024, 1 << 30))] = 16 << 20
    max_event_bytes: Annotated[int, Spec(
        "PARSEC_MAX_EVENT_BYTES", "Largest event, as encoded for the log.",
        "bytes", (1024, 16 << 20))] = MAX_EVENT_BYTES
    max_request_events: Annotated[int, Spec(
        "PARSEC_MAX_REQUEST_EVENTS", "Largest number of events in one request.", limits=(1, 1_000_000))] = 10_000
    ingest_lenient: Annotated[bool, Spec(
        "PARSEC_INGEST_LENIENT", "Accept events without a timestamp (time of receipt), severity (info) or source "
        "(unknown).")] = False
    strict_severity: Annotated[bool, Spec(
        "PARSEC_STRICT_SEVERITY", "Reject events with an unknown severity, instead of keeping them "
        "as info with the word in metadata._severity.")] = False
    derive_ids: Annotated[Literal["body", "random"], Spec(
        "PARSEC_DERIVE_IDS", "Ids of events that have none. body: derived from the request body, so that a retry is "
        "recognised. random: new ones.")] = "body"
    max_connections: Annotated[int, Spec(
        "PARSEC_MAX_CONNECTIONS", "Largest number of open connections. A low limit on open files lowers it.",
        limits=(1, 1_000_000))] = 4096
    max_connections_per_address: Annotated[int, Spec(
        "PARSEC_MAX_CONNECTIONS_PER_ADDRESS", "Largest number of open connections per client address (IPv6: per /64 "
        "network). 0: no limit. Do not use it behind a proxy.", limits=(0, 1_000_000))] = 0
    max_requests_per_address: Annotated[float, Spec(
        "PARSEC_MAX_REQUESTS_PER_ADDRESS", "Requests per second per client address, with bursts of one second. 0: no "
        "limit. Do not use it behind a proxy.", limits=(0, 1e9))] = 0.0
    cors_origins: Annotated[str, Spec(
        "PARSEC_CORS_ORIGINS", "Origins of web pages that may use the API, such as https://ui.example.com, separated "
        "by commas. *: any origin.")] = ""
    allowed_hosts: Annotated[str, Spec(
        "PARSEC_ALLOWED_HOSTS", "Host names to serve without API keys, beside localhost and loopback addresses, for "
        "example behind a proxy: logs.example.com,*.example.net. *: any name, which lets any web page that a user of "
        "this machine opens read and write events.")] = ""

    # Memory and limits of ingest.
    channel_events: Annotated[int, Spec(
        "PARSEC_CHANNEL_EVENTS", "Queue size in events. Tenants using little may exceed it by the same amount.",
        limits=(1, 10_000_000))] = 10_000
    channel_bytes: Annotated[int, Spec(
        "PARSEC_CHANNEL_BYTES", "Queue size in bytes. Tenants using little may exceed it by the same amount.",
        "bytes", (1 << 16, 1 << 36))] = 64 << 20
    ingest_memory: Annotated[int, Spec(
        "PARSEC_INGEST_MEMORY", "Memory for request bodies in progress. Tenants using little may exceed it by a "
        "quarter.", "bytes", (1 << 20, 1 << 36))] = 128 << 20
    limit_events_per_s: Annotated[float, Spec(
        "PARSEC_LIMIT_EVENTS_PER_S", "Events per second per tenant, with bursts of two seconds. 0: no limit.",
        limits=(0, 1e9), per_tenant=True)] = 0.0
    limit_bytes_per_s: Annotated[float, Spec(
        "PARSEC_LIMIT_BYTES_PER_S", "Bytes of decompressed bodies per second per tenant, with bursts of two seconds. "
        "0: no limit.", "bytes", (0, 1 << 40), per_tenant=True)] = 0.0

    # Kafka.
    kafka_brokers: Annotated[str, Spec(
        "KAFKA_BROKERS", "Bootstrap servers as host:port, separated by commas. Empty: use the embedded log instead of "
        "Kafka.")] = ""
    kafka_topic: Annotated[str, Spec("KAFKA_TOPIC", "Topic of the events. Created if it is missing.")] = "log-events"
    topic_partitions: Annotated[int, Spec(
        "PARSEC_TOPIC_PARTITIONS", "Partitions of the topic, when Parsec creates it.", limits=(1, 10_000))] = 12
    topic_replication: Annotated[int, Spec(
        "PARSEC_TOPIC_REPLICATION", "Replication factor of the topic, when Parsec creates it. -1: the cluster's "
        "default.", limits=(-1, 32))] = -1
    publish_batch_events: Annotated[int, Spec(
        "KAFKA_BATCH_SIZE", "Events per publish batch. The embedded log ignores it and commits all that waits, up to 8 "
        "MiB.", limits=(1, 100_000))] = 100
    publish_batch_timeout_ms: Annotated[int, Spec(
        "KAFKA_BATCH_TIMEOUT_MS", "Longest wait for a batch to fill while another is being published to Kafka. Without "
        "one in flight a batch is sent at once.", "milliseconds", (0, 60_000))] = 100
    publish_retries: Annotated[int, Spec(
        "KAFKA_MAX_RETRIES", "Attempts to publish an event before its request fails.", limits=(1, 100))] = 3
    kafka_pool: Annotated[int, Spec(
        "KAFKA_POOL_SIZE", "Workers that publish to Kafka, each with its own producer.", limits=(1, 64))] = 4
    kafka_compression: Annotated[Literal["snappy", "gzip", "lz4", "zstd", "none"], Spec(
        "KAFKA_COMPRESSION", "Compression of batches in Kafka.")] = "snappy"
    kafka_group: Annotated[str, Spec(
        "KAFKA_CONSUMER_GROUP", "Consumer group of the processors, which share the topic's "
        "partitions.")] = "parsec-processor"
    kafka_password: Annotated[str, Spec(
        "PARSEC_KAFKA_PASSWORD", "Password for SASL. The user and the mechanism are set in PARSEC_KAFKA_OPTIONS.",
        secret=True)] = ""
    kafka_options: Annotated[str, Spec(
        "PARSEC_KAFKA_OPTIONS", "Options of librdkafka as name=value, separated by commas, for example "
        "security.protocol=sasl_ssl,ssl.ca.location=/etc/kafka/ca.pem,sasl.mechanism=SCRAM-SHA-512,sasl.username=parsec.",
        secret=True)] = ""
    spool: Annotated[bool, Spec(
        "PARSEC_SPOOL", "Keep events on the local disk while Kafka does not acknowledge them. false: answer 503 "
        "instead.")] = True

    # The log on the local disk.
    log_max_bytes: Annotated[int, Spec(
        "PARSEC_LOG_MAX_BYTES", "Largest size of the embedded log or, with Kafka, of the spool. Ingest answers 503 "
        "when unread events fill it.", "bytes", (1 << 18, 1 << 44))] = 8 << 30
    log_retention: Annotated[float, Spec(
        "PARSEC_LOG_RETENTION", "How long the embedded log keeps events after they are stored, as a second copy from "
        "which lost parts of the store are stored again; at most a quarter of PARSEC_LOG_MAX_BYTES of them.",
        "seconds", (0, 10 * 365 * 86400.0))] = 86_400.0
    disk_reserve: Annotated[int, Spec(
        "PARSEC_DISK_RESERVE", "Free disk space below which ingest answers 503, so that the processor can store what "
        "waits.", "bytes", (0, 1 << 44))] = 512 << 20

    # The processor and the store.
    storage_backend: Annotated[Literal["embedded", "clickhouse"], Spec(
        "STORAGE_BACKEND", "Where events are stored: in the data directory, or on a ClickHouse server.")] = "embedded"
    clickhouse_url: Annotated[str, Spec(
        "CLICKHOUSE_URL", "Address of the ClickHouse server's HTTP interface, such as http://host:8123.")] = ""
    clickhouse_user: Annotated[str, Spec("CLICKHOUSE_USER", "User of the ClickHouse server.")] = "default"
    clickhouse_password: Annotated[str, Spec("CLICKHOUSE_PASSWORD", "Password of that user.", secret=True)] = ""
    clickhouse_database: Annotated[str, Spec(
        "CLICKHOUSE_DATABASE", "Database on the ClickHouse server. Created if it is missing.")] = "parsec"
    process_linger_ms: Annotated[int, Spec(
        "PARSEC_PROCESS_LINGER_MS", "Longest wait for an insert to fill, multiplied by the number of partitions with "
        "waiting events.", "milliseconds", (0, 60_000))] = 500
    retention: Annotated[float, Spec(
        "PARSEC_RETENTION", "How long events are kept, counted from their receipt.",
        "seconds", (3600, 100 * 365 * 86400.0))] = 30 * 86400.0
    store_max_bytes: Annotated[int, Spec(
        "PARSEC_STORE_MAX_BYTES", "Largest size of the store on disk. Beyond it the oldest day of receipt is dropped, "
        "but never today. 0: no limit.", "bytes", (0, 1 << 50))] = 0
    dedup_window: Annotated[float, Spec(
        "PARSEC_DEDUP_WINDOW", "How long a repeated id is recognised, counted from its first receipt, and its event "
        "stored only once.", "seconds", (1, 86_400))] = 600.0
    dedup_ids: Annotated[int, Spec(
        "PARSEC_DEDUP_IDS", "Number of ids that are remembered at least. With more in the window the oldest are "
        "forgotten early, which is counted.", limits=(1000, 100_000_000))] = 1_000_000

    # Queries.
    query_timeout: Annotated[float, Spec(
        "PARSEC_QUERY_TIMEOUT", "Deadline of one query. It also limits what a query may read, per second: 67 million "
        "events and 9 GiB, uncompressed.", "seconds", (0.1, 3600))] = 30.0
    query_memory: Annotated[int, Spec(
        "PARSEC_QUERY_MEMORY", "Memory that one query may use.", "bytes", (1 << 24, 1 << 40))] = 1 << 30

    # Redis.
    redis_addr: Annotated[str, Spec(
        "REDIS_ADDR", "Redis server as host:port, to share remembered ids and tenant limits between processes. Empty: "
        "each process keeps its own.")] = ""
    redis_username: Annotated[str, Spec("REDIS_USERNAME", "User of the Redis server.")] = ""
    redis_password: Annotated[str, Spec("REDIS_PASSWORD", "Password of that user.", secret=True)] = ""
    redis_tls: Annotated[bool, Spec("REDIS_TLS", "Use TLS for Redis and verify the server's certificate.")] = False
    redis_db: Annotated[int, Spec(
        "REDIS_DB", "Number of the Redis database. Two installations on one server need two.",
        limits=(0, 1_000_000))] = 0

    # Stop.
    drain: Annotated[float, Spec(
        "PARSEC_DRAIN_S", "Time between /readyz turning false and closing the listener, for load balancers to notice.",
        "seconds", (0, 600))] = 0.0
    shutdown_timeout: Annotated[float, Spec(
        "PARSEC_SHUTDOWN_TIMEOUT_S", "Longest time that a stop may take.", "seconds", (1, 3600))] = 30.0
    # fmt: on

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def host_names(self) -> tuple[str, ...]:
        """Those of PARSEC_ALLOWED_HOSTS."""
        return tuple(name.strip() for name in self.allowed_hosts.split(",") if name.strip())

    @property
    def roles(self) -> frozenset[str]:
        """What this process does, of ROLES."""
        return ROLES if self.role == "all" else frozenset(name.strip() for name in self.role.split(","))

    @property
    def keys_path(self) -> Path | None:
        """The file of API keys; None with PARSEC_AUTH=off."""
        return None if self.auth == "off" else self.keys_file_path

    @property
    def keys_file_path(self) -> Path:
        """The same, also with PARSEC_AUTH=off."""
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
    hints = get_type_hints(Settings, include_extras=True)
    settings = []
    for field in msgspec.structs.fields(Settings):
        kind, spec = get_args(hints[field.name])
        settings.append(Setting(field.name, spec.env, flag_of(spec.env), kind, field.default, spec))
    return tuple(settings)


def flag_of(env: str) -> str:
    """The flag of a setting that has this name in the environment."""
    return "--" + env.removeprefix("PARSEC_").lower().replace("_", "-")


FORMER_SETTINGS = {
    "PARSEC_STATS_INTERVAL": "the stats line is logged every 30 s",
    "PARSEC_MAX_HEAD_BYTES": "a request head may have 32 KiB",
    "PARSEC_MAX_URL_BYTES": "a URL may have 16 KiB",
    "PARSEC_HEAD_TIMEOUT": "a request head may take 10 s",
    "PARSEC_BODY_TIMEOUT": "a request body may take 60 s",
    "PARSEC_MIN_RATE": "a client must send and read at least 256 bytes per second",
    "PARSEC_SEND_TIMEOUT": "a client that reads too slowly is disconnected after 30 s",
    "PARSEC_LIMIT_EVENTS_BURST": "a burst is two seconds of PARSEC_LIMIT_EVENTS_PER_S",
    "PARSEC_LIMIT_BYTES_BURST": "a burst is two seconds of PARSEC_LIMIT_BYTES_PER_S",
    "PARSEC_SEGMENT_BYTES": "log segments are 128 MiB, or an eighth of PARSEC_LOG_MAX_BYTES if that is less",
    "PARSEC_SPOOL_MAX_BYTES": "PARSEC_LOG_MAX_BYTES limits the spool, too",
    "PARSEC_SPOOL_DRAIN_RATE": "the spool sends up to 20,000 events per second",
    "PARSEC_PUBLISH_DEADLINE": "Kafka has 2 s to acknowledge, retries included",
    "PARSEC_KAFKA_TLS": "set security.protocol=ssl, or sasl_ssl with SASL, in PARSEC_KAFKA_OPTIONS",
    "PARSEC_KAFKA_CA": "set ssl.ca.location=FILE in PARSEC_KAFKA_OPTIONS",
    "PARSEC_KAFKA_CERTIFICATE": "set ssl.certificate.location=FILE in PARSEC_KAFKA_OPTIONS",
    "PARSEC_KAFKA_KEY": "set ssl.key.location=FILE in PARSEC_KAFKA_OPTIONS",
    "PARSEC_KAFKA_SASL": "set security.protocol=sasl_ssl and sasl.mechanism=SCRAM-SHA-512 in PARSEC_KAFKA_OPTIONS",
    "PARSEC_KAFKA_USER": "set sasl.username=NAME in PARSEC_KAFKA_OPTIONS",
    "PARSEC_PROCESS_BATCH_EVENTS": "an insert has up to 20,000 events",
    "PARSEC_PROCESS_BATCH_BYTES": "an insert has up to 16 MiB",
    "PARSEC_TAILS": "up to 200 tails are open at once",
    "PARSEC_TAILS_PER_TENANT": "up to 50 tails of a tenant are open at once",
    "PARSEC_TAIL_BYTES": "up to 1 MiB of events waits for a slow tail",
    "PARSEC_QUERY_ROWS": "PARSEC_QUERY_TIMEOUT limits it: 67 million events per second",
    "PARSEC_QUERY_BYTES": "PARSEC_QUERY_TIMEOUT limits it: 9 GiB per second",
    "PARSEC_STALL_AFTER": "a stage that makes no progress for 30 s is not ready",
    "REDIS_PREFIX": "keys begin with parsec:, and REDIS_DB separates installations",
}
"""Names that were settings, and what holds instead. Giving one is an error that says so."""

NAMES_OF_OTHERS = {
    "CLICKHOUSE_HOST": "CLICKHOUSE_URL",
    "KAFKA_BOOTSTRAP_SERVERS": "KAFKA_BROKERS",
    "KAFKA_HOST": "KAFKA_BROKERS",
    "REDIS_HOST": "REDIS_ADDR",
    "REDIS_URL": "REDIS_ADDR",
}
"""Common names in the environment, perhaps for other programs, and the setting that may be meant. Logged at start."""
