"""Every setting once: name, type, default, range, help. Flags, environment, the settings file, docs/settings.md and
`parsec check-config` are all made from this list.

In: flags, environment, a TOML file (in this order of precedence). Out: a frozen `Settings`.
Errors: BadSettings with every fault at once. Next: parsec.wiring.
"""

import re
import socket
import tomllib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from parsec.core.errors import BadSettings
from parsec.core.quantity import Unit, parse_quantity, show_quantity
from parsec.core.tenant import tenant_name
from parsec.keys.file import KeysUnreadable
from parsec.keys.file import read as read_keys

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


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
            "Upper bound on the wait for a batch to fill; a free worker never waits.",
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
        int, Spec("PARSEC_PROCESS_LINGER_MS", "Longest wait for an insert to fill.", "milliseconds", 0, 60_000)
    ] = 500
    retention: Annotated[
        float,
        Spec("PARSEC_RETENTION", "How long events are kept, from their receipt.", "seconds", 3600, 100 * 365 * 86400.0),
    ] = 30 * 86400.0
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


class Loaded(msgspec.Struct, frozen=True):
    """The settings and, per setting, where its value came from.

    `tenants`: the settings as they hold for those that `file` has a table for. `again`: loads all of it anew.
    """

    settings: Settings
    sources: Mapping[str, str]
    tenants: Mapping[str, Settings]
    file: Path | None
    again: Callable[[], "Loaded"]


def load(flags: Mapping[str, str], environ: Mapping[str, str], config: Path | None = None) -> Loaded:
    """Flag, then environment, then file, then default. `flags` maps environment names to texts; an empty text is none.

    The file is `config`, else the one that PARSEC_CONFIG in `environ` names, else none.
    Raises BadSettings with all faults: unknown names, values that do not parse, values out of range.
    """
    if config is None and environ.get("PARSEC_CONFIG"):
        config = Path(environ["PARSEC_CONFIG"])
    problems: list[str] = []
    known = {setting.env: setting for setting in catalogue()}
    from_file, of_tenants = _read_file(config, known, problems) if config else ({}, {})
    problems += [
        f"{name}: no such setting{_did_you_mean(name, known)}"
        for name in environ
        if name.startswith("PARSEC_") and name not in known and name not in CLIENT_NAMES
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in known.values():
        sources[setting.name] = "default"
        for source, given in (("flag", flags), ("environment", environ), (f"file {config}", from_file)):
            raw = given.get(setting.env)
            if raw is None or raw == "":
                continue
            sources[setting.name] = source
            try:
                values[setting.name] = parse(setting, raw)
            except ValueError as error:
                problems.append(fault(setting, raw, source, error))
            break
    problems += conflicts(Settings(**values))
    if not values.get("node"):
        values["node"] = socket.gethostname()
    settings = Settings(**values)
    tenants = {name: _for_tenant(settings, name, table, known, problems) for name, table in of_tenants.items()}
    if problems:
        raise BadSettings(problems)
    return Loaded(settings, sources, tenants, config, lambda: load(flags, environ, config))


def _for_tenant(
    settings: Settings, tenant: str, table: object, known: Mapping[str, Setting], problems: list[str]
) -> Settings:
    where = f"[tenants.{tenant}]"
    if tenant_name(tenant) != tenant:
        problems.append(f"{where}: is no tenant's name: 1 to 64 of a-z 0-9 . _ - that begin with a letter or digit")
    if not isinstance(table, dict):
        problems.append(f"{where}: must be a table of settings")
        return settings
    names = {alias: setting for setting in known.values() if setting.spec.per_tenant for alias in _aliases(setting)}
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key not in names:
            problems.append(f"{where} {key}: no such setting of a tenant{_did_you_mean(key, names)}")
            continue
        try:
            values[names[key].name] = parse(names[key], raw)
        except ValueError as error:
            problems.append(fault(names[key], raw, where, error))
    return msgspec.structs.replace(settings, **values)


def conflicts(settings: Settings) -> list[str]:
    """What is wrong with settings that are each allowed."""
    problems, settings = _without_credentials(settings)
    problems += _key_conflicts(settings)
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        problems.append("PARSEC_TLS_CERTIFICATE and PARSEC_TLS_KEY: one needs the other")
    if settings.ingest_memory < settings.max_body_bytes:
        problems.append("PARSEC_INGEST_MEMORY: is less than PARSEC_MAX_BODY_BYTES, so the largest bodies never fit")
    problems += _role_conflicts(settings)
    problems += [
        f"PARSEC_CORS_ORIGINS={origin}: must be *, or a scheme, a host and perhaps a port: https://ui.example.com"
        for origin in settings.origins
        if not re.fullmatch(r"\*|https?://[a-z0-9.\-\[\]:]+", origin)
    ]
    try:
        parse_pairs(settings.kafka_options)
    except ValueError as error:
        problems.append(f"PARSEC_KAFKA_OPTIONS: {error}")
    if settings.redis_addr:
        try:
            host_and_port(settings.redis_addr)
        except ValueError as error:
            problems.append(f"REDIS_ADDR={settings.redis_addr}: {error}")
    return problems


def _without_credentials(settings: Settings) -> tuple[list[str], Settings]:
    """An address with a user and a password in it would be shown wherever the address is."""
    told = {
        "clickhouse_url": ("CLICKHOUSE_URL", "CLICKHOUSE_USER and CLICKHOUSE_PASSWORD", "http://(hidden)"),
        "redis_addr": ("REDIS_ADDR", "REDIS_USERNAME and REDIS_PASSWORD", "(hidden):1"),
        "kafka_brokers": ("KAFKA_BROKERS", "PARSEC_KAFKA_USER and PARSEC_KAFKA_PASSWORD", "(hidden)"),
    }
    found = [name for name in told if "@" in getattr(settings, name)]
    problems = [f"{told[name][0]}: must hold no user and no password; {told[name][1]} are for these" for name in found]
    return problems, msgspec.structs.replace(settings, **{name: told[name][2] for name in found})


def _key_conflicts(settings: Settings) -> list[str]:
    path = settings.keys_path
    if path is None:
        return []
    try:
        keys = read_keys(path)
    except KeysUnreadable as error:
        return [f"PARSEC_KEYS_FILE: {error}"]
    if keys or is_loopback(settings.host):
        return []
    return [
        f"PARSEC_HOST={settings.host}: without API keys Parsec serves a loopback address only; make one with "
        f"`parsec keys create`, or say PARSEC_AUTH=off to let anybody in who reaches it (no key is in {path})"
    ]


def _role_conflicts(settings: Settings) -> list[str]:
    problems = []
    roles = settings.roles
    if not roles <= ROLES:
        return [f"PARSEC_ROLE={settings.role}: must be all, or some of ingest, process and query"]
    if settings.storage_backend == "clickhouse" and not settings.clickhouse_url and roles != {"ingest"}:
        problems.append("STORAGE_BACKEND=clickhouse: needs CLICKHOUSE_URL")
    if settings.clickhouse_url and settings.storage_backend != "clickhouse":
        problems.append("CLICKHOUSE_URL: is used with STORAGE_BACKEND=clickhouse only")
    if settings.clickhouse_url and not settings.clickhouse_url.startswith(("http://", "https://")):
        problems.append(f"CLICKHOUSE_URL={settings.clickhouse_url}: must begin with http:// or https://")
    if "`" in settings.clickhouse_database:
        problems.append(f"CLICKHOUSE_DATABASE={settings.clickhouse_database}: must be a plain name")
    if settings.role != "all":
        if not settings.kafka_brokers:
            problems.append(f"PARSEC_ROLE={settings.role}: needs Kafka (KAFKA_BROKERS); the embedded log is not shared")
        if roles != {"ingest"} and settings.storage_backend != "clickhouse":
            problems.append(
                f"PARSEC_ROLE={settings.role}: needs a ClickHouse server (STORAGE_BACKEND=clickhouse); "
                "the embedded store is not shared"
            )
    return problems


def parse_pairs(text: str) -> dict[str, str]:
    """`name=value,name=value`; a piece without `=` belongs to the value before it. Raises ValueError."""
    found: dict[str, str] = {}
    last = ""
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = piece.partition("=")
        if equals:
            last = name.strip()
            found[last] = value.strip()
        elif last:
            found[last] += f",{piece}"
        else:
            raise ValueError("must be name=value pairs with commas between")
    return found


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of host:port or [IPv6]:port. Raises ValueError with what is allowed."""
    host, _, port = address.rpartition(":")
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not plain or (":" in plain) != (plain is not host) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError("must be host:port")
    return plain, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def fault(setting: Setting, raw: object, source: str, why: Exception) -> str:
    """One line about a bad value; a secret's value is not part of it."""
    return f"{setting.env}={'(hidden)' if setting.spec.secret else repr(raw)} ({source}): {why}"


CLIENT_NAMES = frozenset(
    {"PARSEC_URL", "PARSEC_API_KEY", "PARSEC_TENANT", "PARSEC_CA_FILE", "PARSEC_PROFILE", "PARSEC_CONFIG"}
)
"""Names that clients read and the server must not stumble over."""


def parse(setting: Setting, raw: object) -> Any:
    """The typed value of a text (or of a TOML value). Raises ValueError with what is allowed."""
    if isinstance(raw, list | dict):
        raise ValueError("must be one plain value")
    text = str(raw).strip()
    kind = setting.type
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        if text not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        return text
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError("must be true or false")
        return _BOOLEANS[text.lower()]
    if kind is str:
        return text
    return _parse_number(setting, text)


def _parse_number(setting: Setting, text: str) -> int | float:
    unit, low, high = setting.spec.unit, setting.spec.minimum, setting.spec.maximum
    negative = text.startswith("-") and low is not None and low < 0
    value = -parse_quantity(text[1:], unit) if negative else parse_quantity(text, unit)
    if setting.type is int:
        if value != int(value):
            raise ValueError("must be a whole number")
        value = int(value)
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"must be from {show_quantity(low, unit)} to {show_quantity(high, unit)}")
    return value


def _read_file(
    path: Path, known: Mapping[str, Setting], problems: list[str]
) -> tuple[dict[str, Any], dict[str, object]]:
    """By environment name; a key of the file is the flag's name without the leading dashes, or the environment name.
    Beside it the tables of tenants, by name."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return {}, {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is not TOML: {error}")
        return {}, {}
    tenants = content.pop("tenants", {})
    if not isinstance(tenants, dict):
        problems.append(f"{path}: tenants: must be tables such as [tenants.acme]")
        tenants = {}
    names = {alias: env for env, setting in known.items() for alias in _aliases(setting)}
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key not in names:
            problems.append(f"{path}: {key}: no such setting{_did_you_mean(key, names)}")
        elif names[key] in found:
            problems.append(f"{path}: {key}: given twice")
        else:
            found[names[key]] = value
    return found, tenants


def _aliases(setting: Setting) -> Iterator[str]:
    yield setting.env
    yield setting.flag.removeprefix("--")
    yield setting.flag.removeprefix("--").replace("-", "_")


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
