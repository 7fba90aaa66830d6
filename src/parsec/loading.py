"""Load settings from flags, the environment and a TOML file, in this order of precedence.

In: texts by name. Out: `Loaded`: the settings, and where each came from. Errors: BadSettings with all faults at once.
Next: parsec.wiring.serve.
"""

import re
import socket
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from parsec.api.event_rules import TENANT_RULE, tenant_name
from parsec.core.directory import why_unusable
from parsec.core.errors import BadSettings
from parsec.core.loopback import is_loopback
from parsec.core.units import parse_quantity, show_quantity
from parsec.keys.file import KeysUnreadable
from parsec.keys.file import read as read_keys
from parsec.settings import FORMER_SETTINGS, ROLES, Setting, Settings, catalogue, flag_of

CLIENT_NAMES = frozenset(
    {"PARSEC_URL", "PARSEC_API_KEY", "PARSEC_TENANT", "PARSEC_CA_FILE", "PARSEC_PROFILE", "PARSEC_CONFIG"}
)
"""Names for clients, which may stand in the server's environment, too."""

LIKE, NEAR_MISS = 0.6, 0.86
"""Similarity (difflib) of an unknown name to a setting: enough to suggest it; and, for a name without our prefix, to be
taken for a mistake: KAFKA_BROKER and PARSC_PORT are, KAFKA_BROKER_ID and CLICKHOUSE_DB, which servers read, are not."""

_OF_KUBERNETES = re.compile(r"PARSEC_(SERVICE_(HOST|PORT)|PORT_[0-9]+_)")

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class Loaded(msgspec.Struct, frozen=True):
    """The settings and, per setting, where its value came from.

    `tenants`: the settings as they hold for those that `file` has a table for. `reload`: loads all of it again.
    """

    settings: Settings
    sources: Mapping[str, str]
    tenants: Mapping[str, Settings]
    file: Path | None
    reload: Callable[[], "Loaded"]


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
    problems += [_former(flag_of(name), name) for name in flags if name in FORMER_SETTINGS]
    problems += filter(None, (_wrong_name(name, known) for name in environ))
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


def _wrong_name(name: str, known: Mapping[str, Setting]) -> str | None:
    """What is wrong with a name of the environment; None: it is right, or not for Parsec."""
    if name in known or name in CLIENT_NAMES:
        return None
    if name in FORMER_SETTINGS:
        return _former(name, name)
    if _OF_KUBERNETES.match(name):
        return f"{name}: Kubernetes sets it for a Service named parsec; set enableServiceLinks: false for the pod"
    if name.startswith("PARSEC_"):
        return f"{name}: {_unknown(name, {each.removeprefix('PARSEC_'): each for each in (*known, *CLIENT_NAMES)})}"
    upper = name.upper()
    close = _closest(upper, [each for each in (*known, *CLIENT_NAMES) if each.startswith(upper[:1])], NEAR_MISS)
    return f"{name}: did you mean {close}? Rename it, or unset it" if close else None


def _former(name: str, env: str) -> str:
    return f"{name} is no longer a setting: {FORMER_SETTINGS[env]}"


def _unknown(name: str, known: Mapping[str, str]) -> str:
    """`known`: what to compare with, and what to suggest for it."""
    close = _closest(name.removeprefix("PARSEC_"), list(known), LIKE)
    return "no such setting" + (f"; did you mean {known[close]}?" if close else "; `parsec serve --help` lists them")


def _closest(name: str, known: Sequence[str], cutoff: float) -> str | None:
    import difflib  # late: most commands never need it

    return next(iter(difflib.get_close_matches(name, known, 1, cutoff)), None)


def _for_tenant(
    settings: Settings, tenant: str, table: object, known: Mapping[str, Setting], problems: list[str]
) -> Settings:
    where = f"[tenants.{tenant}]"
    if tenant_name(tenant) != tenant:
        problems.append(f"{where}: not a valid tenant name: {TENANT_RULE}")
    if not isinstance(table, dict):
        problems.append(f"{where}: must be a table of settings")
        return settings
    names = {alias: setting for setting in known.values() if setting.spec.per_tenant for alias in _aliases(setting)}
    values: dict[str, Any] = {}
    for key, raw in table.items():
        if key not in names:
            allowed = " and ".join(_keys(env)[0] for env, setting in known.items() if setting.spec.per_tenant)
            why = f"{where} {key}: not a setting of a tenant; those are {allowed}"
            problems.append(_former_key(f"{where} {key}", key) or why)
            continue
        try:
            values[names[key].name] = parse(names[key], raw)
        except ValueError as error:
            problems.append(fault(names[key], raw, where, error))
    return msgspec.structs.replace(settings, **values)


def conflicts(settings: Settings) -> list[str]:
    """Faults of settings together, each of which is valid by itself."""
    problems, settings = _without_credentials(settings)
    problems += _key_conflicts(settings)
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        problems.append("PARSEC_TLS_CERTIFICATE and PARSEC_TLS_KEY: set both, or neither")
    if settings.ingest_memory < settings.max_body_bytes:
        problems.append("PARSEC_INGEST_MEMORY: must be at least PARSEC_MAX_BODY_BYTES, or the largest bodies never fit")
    problems += _role_conflicts(settings)
    problems += [
        f"PARSEC_CORS_ORIGINS={origin}: must be * or an origin such as https://ui.example.com"
        for origin in settings.origins
        if not re.fullmatch(r"\*|https?://[a-z0-9.\-\[\]:]+", origin)
    ]
    problems += [
        f"PARSEC_ALLOWED_HOSTS={name}: must be a host name without scheme, port and path, such as logs.example.com; "
        "*.example.com for all names below one; or *"
        for name in settings.host_names
        if name != "*" and not re.fullmatch(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.\-]*[A-Za-z0-9_])?\.?", name)
    ]
    problems += _kafka_conflicts(settings)
    if settings.redis_addr:
        try:
            host_and_port(settings.redis_addr)
        except ValueError as error:
            problems.append(f"REDIS_ADDR={settings.redis_addr}: {error}")
    return problems


def _kafka_conflicts(settings: Settings) -> list[str]:
    try:
        options = parse_pairs(settings.kafka_options)
    except ValueError as error:
        return [f"PARSEC_KAFKA_OPTIONS: {error}"]
    if settings.kafka_password and not options.get("security.protocol", "").lower().startswith("sasl_"):
        return ["PARSEC_KAFKA_PASSWORD: needs security.protocol=sasl_ssl (or sasl_plaintext) in PARSEC_KAFKA_OPTIONS"]
    return []


def _without_credentials(settings: Settings) -> tuple[list[str], Settings]:
    """Refuse users and passwords in addresses, which are logged."""
    instead = {
        "clickhouse_url": ("CLICKHOUSE_URL", "CLICKHOUSE_USER and CLICKHOUSE_PASSWORD", "http://(hidden)"),
        "redis_addr": ("REDIS_ADDR", "REDIS_USERNAME and REDIS_PASSWORD", "(hidden):1"),
        "kafka_brokers": ("KAFKA_BROKERS", "PARSEC_KAFKA_OPTIONS and PARSEC_KAFKA_PASSWORD", "(hidden)"),
    }
    found = [name for name in instead if "@" in getattr(settings, name)]
    problems = [f"{instead[name][0]}: must not contain a user or password; use {instead[name][1]}" for name in found]
    return problems, msgspec.structs.replace(settings, **{name: instead[name][2] for name in found})


def _key_conflicts(settings: Settings) -> list[str]:
    path = settings.keys_path
    if path is None:
        return []
    try:
        keys = read_keys(path)
    except KeysUnreadable as error:
        why = None if settings.keys_file else why_unusable(path.parent)
        return [f"PARSEC_DATA_DIR={path.parent}: {why}" if why else f"PARSEC_KEYS_FILE: {error}"]
    if keys or is_loopback(settings.host):
        return []
    return [
        f"PARSEC_HOST={settings.host}: without API keys Parsec listens on loopback addresses only. Create a key with "
        f"`parsec keys create` (there is none in {path}), or set PARSEC_AUTH=off to serve everyone without a key"
    ]


def _role_conflicts(settings: Settings) -> list[str]:
    problems = []
    roles = settings.roles
    if not roles <= ROLES:
        return [f"PARSEC_ROLE={settings.role}: must be all, or any of ingest, process and query"]
    if settings.storage_backend == "clickhouse" and not settings.clickhouse_url and roles != {"ingest"}:
        problems.append("STORAGE_BACKEND=clickhouse: needs CLICKHOUSE_URL")
    if settings.clickhouse_url and settings.storage_backend != "clickhouse":
        problems.append("CLICKHOUSE_URL: needs STORAGE_BACKEND=clickhouse")
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
            raise ValueError("must be name=value pairs separated by commas")
    return found


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of host:port or [IPv6]:port. Raises ValueError with what is allowed."""
    host, _, port = address.rpartition(":")
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not plain or (":" in plain) != (plain is not host) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError("must be host:port")
    return plain, int(port)


def fault(setting: Setting, raw: object, source: str, why: Exception) -> str:
    """One line about a bad value; a secret's value is not part of it."""
    return f"{setting.env}={'(hidden)' if setting.spec.secret else repr(raw)} ({source}): {why}"


def parse(setting: Setting, raw: object) -> Any:
    """The typed value of a text (or of a TOML value). Raises ValueError with what is allowed."""
    if isinstance(raw, list | dict):
        raise ValueError("must be one plain value")
    text = str(raw).strip()
    kind = setting.type
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        text = dict(setting.spec.former).get(text, text)
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
    unit, limits = setting.spec.unit, setting.spec.limits
    assert limits is not None, f"{setting.env} has no limits"
    low, high = limits
    negative = text.startswith("-") and low < 0
    value = -parse_quantity(text[1:], unit) if negative else parse_quantity(text, unit)
    if setting.type is int:
        if value != int(value):
            raise ValueError("must be a whole number")
        value = int(value)
    if not low <= value <= high:
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
            unknown = f"{path}: {key}: {_unknown(key, {name: name for name in names})}"
            problems.append(_former_key(f"{path}: {key}", key) or unknown)
        elif names[key] in found:
            problems.append(f"{path}: {key}: given twice")
        else:
            found[names[key]] = value
    return found, tenants


def _aliases(setting: Setting) -> tuple[str, ...]:
    return setting.env, *_keys(setting.env)


def _keys(env: str) -> tuple[str, str]:
    """Names of a setting in the file, beside that of the environment."""
    name = flag_of(env).removeprefix("--")
    return name, name.replace("-", "_")


def _former_key(where: str, key: str) -> str | None:
    """What a former setting's key of the file became; None: there never was one."""
    former = {alias: env for env in FORMER_SETTINGS for alias in (env, *_keys(env))}
    return _former(where, former[key]) if key in former else None
