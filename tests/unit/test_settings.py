"""Settings: precedence, every fault at once, and a catalogue that is in order."""

import ast
import re
import socket
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from parsec.core.errors import BadSettings
from parsec.core.units import show_quantity
from parsec.loading import fault, host_and_port, load, parse
from parsec.settings import FORMER_SETTINGS, Setting, Settings, Spec, catalogue, flag_of

SOURCES = Path(__file__).parents[2] / "src" / "parsec"


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "parsec.toml"
    path.write_text(content)
    return path


def problems(flags: dict[str, str], environ: dict[str, str], config: Path | None = None) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load(flags, environ, config)
    return caught.value.problems


def test_defaults_hold_when_nothing_is_said() -> None:
    loaded = load({}, {})
    assert loaded.settings.port == 8080
    assert loaded.settings.host == "127.0.0.1"
    assert loaded.settings.node == socket.gethostname()
    assert set(loaded.sources.values()) == {"default"}


def test_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    config = write(tmp_path, 'port = 1\nregion = "file"\nnode = "file"\n')
    loaded = load({"PARSEC_PORT": "3"}, {"PARSEC_PORT": "2", "PARSEC_REGION": "environment"}, config)
    assert (loaded.settings.port, loaded.sources["port"]) == (3, "flag")
    assert (loaded.settings.region, loaded.sources["region"]) == ("environment", "environment")
    assert (loaded.settings.node, loaded.sources["node"]) == ("file", f"file {config}")
    assert loaded.sources["host"] == "default"


def test_an_empty_text_is_as_good_as_none(tmp_path: Path) -> None:
    loaded = load({"PARSEC_REGION": ""}, {"PARSEC_REGION": ""}, write(tmp_path, 'region = "file"'))
    assert loaded.settings.region == "file"


def test_the_environment_may_name_the_file_and_a_flag_names_another(tmp_path: Path) -> None:
    named = {"PARSEC_CONFIG": str(write(tmp_path, "port = 7"))}
    assert load({}, named).settings.port == 7
    other = tmp_path / "other.toml"
    other.write_text("port = 8")
    assert load({}, named, other).settings.port == 8


@pytest.mark.parametrize("key", ["max-body-bytes", "max_body_bytes", "PARSEC_MAX_BODY_BYTES"])
def test_a_file_may_use_any_of_the_names(tmp_path: Path, key: str) -> None:
    assert load({}, {}, write(tmp_path, f'{key} = "1MiB"')).settings.max_body_bytes == 1 << 20


def test_a_file_has_types_of_its_own(tmp_path: Path) -> None:
    settings = load({}, {}, write(tmp_path, "ingest-lenient = true\ndrain-s = 1.5\nport = 0x10\n")).settings
    assert (settings.ingest_lenient, settings.drain, settings.port) == (True, 1.5, 16)


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    config = write(tmp_path, "prot = 1\nport = [1]\nregion = 'a'\nPARSEC_REGION = 'b'\n")
    found = problems({"PARSEC_DRAIN_S": "soon"}, {"PARSEC_PROT": "1", "PARSEC_LOG_LEVEL": "loud"}, config)
    assert found == [
        f"{config}: prot: no such setting; did you mean port?",
        f"{config}: PARSEC_REGION: given twice",
        "PARSEC_PROT: no such setting; did you mean PARSEC_PORT?",
        f"PARSEC_PORT=[1] (file {config}): must be one plain value",
        "PARSEC_LOG_LEVEL='loud' (environment): must be debug or info or warning or error",
        "PARSEC_DRAIN_S='soon' (flag): must be a time such as 10m",
    ]


@pytest.mark.parametrize(
    ("content", "fault"), [("port =", "is not TOML"), ("[server]\nport = 1", "server: no such setting")]
)
def test_a_bad_file_is_a_fault(tmp_path: Path, content: str, fault: str) -> None:
    assert fault in problems({}, {}, write(tmp_path, content))[0]


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in problems({}, {}, tmp_path / "none.toml")[0]


SHARED = {"KAFKA_BROKERS": "k:9092", "STORAGE_BACKEND": "clickhouse", "CLICKHOUSE_URL": "http://c:8123"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"PARSEC_ROLE": "serve"}, "must be all, or any of ingest, process and query"),
        ({"PARSEC_ROLE": "ingest"}, "needs Kafka"),
        ({"PARSEC_ROLE": "process,query", "KAFKA_BROKERS": "k:9092"}, "needs a ClickHouse server"),
        ({"STORAGE_BACKEND": "clickhouse"}, "needs CLICKHOUSE_URL"),
        ({"CLICKHOUSE_URL": "http://c:8123"}, "needs STORAGE_BACKEND=clickhouse"),
        (SHARED | {"CLICKHOUSE_URL": "c:8123"}, "must begin with http://"),
        (SHARED | {"CLICKHOUSE_DATABASE": "a`b"}, "must be a plain name"),
        ({"PARSEC_KAFKA_PASSWORD": "p"}, "needs security.protocol=sasl_ssl"),
        ({"PARSEC_KAFKA_PASSWORD": "p", "PARSEC_KAFKA_OPTIONS": "security.protocol=ssl"}, "needs security.protocol"),
        ({"PARSEC_KAFKA_OPTIONS": "security.protocol"}, "must be name=value pairs"),
    ],
)
def test_what_a_role_or_a_store_needs_is_told_before_anything_opens(given: dict[str, str], fault: str) -> None:
    assert fault in problems({}, given)[0]


def test_roles_may_be_combined_on_shared_servers() -> None:
    assert load({}, SHARED | {"PARSEC_ROLE": "process, query"}).settings.roles == {"process", "query"}
    assert load({}, {"KAFKA_BROKERS": "k:9092", "PARSEC_ROLE": "ingest"}).settings.roles == {"ingest"}
    assert load({}, {}).settings.roles == {"ingest", "process", "query"}


def test_names_of_other_programs_are_none_of_our_business() -> None:
    load({}, {"PATH": "/bin", "PARSEC_URL": "http://x", "PARSEC_API_KEY": "k", "KAFKA_HEAP_OPTS": "-Xmx1g"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KAFKA_BROKER", "KAFKA_BROKERS"),
        ("REDIS_ADDRESS", "REDIS_ADDR"),
        ("CLICKHOUSE_URI", "CLICKHOUSE_URL"),
        ("CLICKHOUSE_USERNAME", "CLICKHOUSE_USER"),
        ("STORAGE_BACKENDS", "STORAGE_BACKEND"),
        ("kafka_brokers", "KAFKA_BROKERS"),
        ("parsec_port", "PARSEC_PORT"),
        ("PARSC_PORT", "PARSEC_PORT"),
        ("PRASEC_RETENTION", "PARSEC_RETENTION"),
    ],
)
def test_a_near_miss_of_a_name_without_our_prefix_is_a_fault(name: str, meant: str) -> None:
    assert problems({}, {name: "x"}) == [f"{name}: did you mean {meant}? Rename it, or unset it"]


@pytest.mark.parametrize("name", ["KAFKA_BROKER_ID", "KAFKA_PORT", "REDIS_URL", "CLICKHOUSE_DB", "CLICKHOUSE_HOST"])
def test_a_name_that_servers_or_orchestrators_set_is_no_near_miss(name: str) -> None:
    load({}, {name: "x"})


@pytest.mark.parametrize("name", ["PARSEC_SERVICE_HOST", "PARSEC_SERVICE_PORT_HTTP", "PARSEC_PORT_8080_TCP_ADDR"])
def test_the_names_of_a_kubernetes_service_are_explained(name: str) -> None:
    assert "enableServiceLinks: false" in problems({}, {name: "10.0.0.1"})[0]


def test_a_name_with_our_prefix_for_one_without_is_a_fault_that_names_it() -> None:
    assert problems({}, {"PARSEC_REDIS_ADDR": "x", "PARSEC_QQ": "x"}) == [
        "PARSEC_REDIS_ADDR: no such setting; did you mean REDIS_ADDR?",
        "PARSEC_QQ: no such setting; `parsec serve --help` lists them",
    ]


@pytest.mark.parametrize("name", FORMER_SETTINGS)
def test_a_former_setting_is_a_fault_that_says_what_holds_instead(tmp_path: Path, name: str) -> None:
    flag, fate = flag_of(name), FORMER_SETTINGS[name]
    key = flag.removeprefix("--")
    config = write(tmp_path, f"{key} = 1\n{key.replace('-', '_')} = 1\n" if "-" in key else f"{key} = 1\n")
    told = problems({name: "1"}, {name: "1"}, config)
    assert f"{config}: {key} is no longer a setting: {fate}" in told
    assert f"{flag} is no longer a setting: {fate}" in told
    assert f"{name} is no longer a setting: {fate}" in told
    assert len(told) in (3, 4)
    assert name not in {setting.env for setting in catalogue()}


def test_what_a_former_setting_became_names_settings_that_there_are() -> None:
    named = re.findall(r"\b(?:PARSEC|KAFKA|REDIS)_[A-Z_]+", " ".join(FORMER_SETTINGS.values()))
    assert set(named) <= {setting.env for setting in catalogue()}


@pytest.mark.parametrize("module", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_message_names_a_former_setting(module: Path) -> None:
    if module.name == "settings.py":
        return
    texts = [node.value for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Constant)]
    named = re.findall(r"\b[A-Z][A-Z_]+\b", " ".join(text for text in texts if isinstance(text, str)))
    assert not FORMER_SETTINGS.keys() & set(named)


def test_there_are_few_settings() -> None:
    """What no operator has a reason to change is a constant with a comment."""
    assert len(catalogue()) <= 65


def test_bounds_are_part_of_the_message() -> None:
    assert problems({"PARSEC_PORT": "65536"}, {}) == ["PARSEC_PORT='65536' (flag): must be from 0 to 65535"]
    assert problems({"PARSEC_PORT": "1.5"}, {}) == ["PARSEC_PORT='1.5' (flag): must be a whole number"]


def test_booleans_are_words() -> None:
    lenient = next(setting for setting in catalogue() if setting.type is bool)
    assert [parse(lenient, word) for word in ("TRUE", "1", "yes", "on", "false", "0", "no", "off")] == [True] * 4 + [
        False
    ] * 4
    with pytest.raises(ValueError, match="true or false"):
        parse(lenient, "maybe")


@pytest.mark.parametrize("setting", catalogue(), ids=lambda setting: setting.env)
class TestCatalogue:
    def test_the_default_is_within_the_bounds_and_can_be_written(self, setting: Setting) -> None:
        shown = show_quantity(setting.default, setting.spec.unit)
        if shown:
            assert parse(setting, shown) == setting.default

    def test_the_help_is_a_sentence(self, setting: Setting) -> None:
        assert re.fullmatch(r"[A-Z].*\.", setting.spec.help)

    def test_numbers_have_bounds(self, setting: Setting) -> None:
        numeric = setting.type in (int, float)
        assert (setting.spec.limits is not None) == numeric

    def test_choices_are_texts(self, setting: Setting) -> None:
        if get_origin(setting.type) is not None:
            choices: tuple[Any, ...] = get_args(setting.type)
            assert setting.default in choices


def test_no_name_or_flag_is_used_twice() -> None:
    for names in ([s.env for s in catalogue()], [s.flag for s in catalogue()]):
        assert len(set(names)) == len(names)
    assert [s.name for s in catalogue()] == list(Settings.__struct_fields__)


def test_a_secret_stays_out_of_errors() -> None:
    why = ValueError("must be a number")
    secret = Setting("key", "PARSEC_KEY", "--key", int, 1, Spec("PARSEC_KEY", "A key.", secret=True))
    assert fault(secret, "hunter2", "flag", why) == "PARSEC_KEY=(hidden) (flag): must be a number"


def test_settings_that_cannot_work_together_are_told_with_all_others() -> None:
    environ = {
        "PARSEC_HOST": "192.0.2.1",
        "PARSEC_INGEST_MEMORY": "1MiB",
        "PARSEC_PORT": "99999",
        "CLICKHOUSE_URL": "http://127.0.0.1:8123",
    }
    with pytest.raises(BadSettings) as caught:
        load({}, environ)
    told = " ".join(caught.value.problems)
    assert all(name in told for name in environ)


@pytest.mark.parametrize(
    ("address", "parts"),
    [("redis:6379", ("redis", 6379)), ("10.0.0.1:1", ("10.0.0.1", 1)), ("[::1]:6379", ("::1", 6379))],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts


@pytest.mark.parametrize("address", ["redis", "redis:", ":6379", "redis:0", "redis:65536", "::1:6379", "[redis]:6379"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    assert f"REDIS_ADDR={address}: must be host:port" in problems({}, {"REDIS_ADDR": address})


def test_a_tenant_of_the_file_may_have_settings_of_its_own(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        "limit-events-per-s = 100\n[tenants.other]\n"
        '[tenants.acme]\nlimit-events-per-s = 500\nlimit-bytes-per-s = "1MiB"\n',
    )
    loaded = load({"PARSEC_LIMIT_BYTES_PER_S": "7"}, {}, config)
    acme, other = loaded.tenants["acme"], loaded.tenants["other"]
    assert (acme.limit_events_per_s, acme.limit_bytes_per_s) == (500, 1 << 20)
    assert (other.limit_events_per_s, other.limit_bytes_per_s) == (100, 7)
    config.write_text("limit-events-per-s = 3\n")
    assert (loaded.reload().settings.limit_events_per_s, loaded.reload().tenants) == (3, {})


def test_each_fault_of_a_tenants_table_is_named(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        "[tenants]\nx = 1\n[tenants.ACME]\n[tenants.acme]\nlimit-event-per-s = 1\nport = 5\n"
        "limit-bytes-burst = 1\nlimit-bytes-per-s = -1\n",
    )
    found = "\n".join(problems({}, {}, config))
    for part in (
        "[tenants.x]: must be a table",
        "[tenants.ACME]: not a valid tenant name",
        "[tenants.acme] limit-event-per-s: not a setting of a tenant; those are limit-events-per-s and limit-bytes-per",
        "[tenants.acme] port: not a setting of a tenant",
        "[tenants.acme] limit-bytes-burst is no longer a setting: a burst is two seconds of",
        "PARSEC_LIMIT_BYTES_PER_S=-1 ([tenants.acme])",
    ):
        assert part in found
    config.write_text("tenants = 5\n")
    assert "tenants: must be tables" in problems({}, {}, config)[0]


def test_an_origin_is_a_scheme_a_host_and_perhaps_a_port() -> None:
    fine = "https://ui.example.com, http://localhost:3000,http://[::1]:80"
    assert load({}, {"PARSEC_CORS_ORIGINS": fine}).settings.origins[1] == "http://localhost:3000"
    for wrong in ("ui.example.com", "https://ui.example.com/", "https://*.example.com", "null"):
        assert problems({}, {"PARSEC_CORS_ORIGINS": wrong}) == [
            f"PARSEC_CORS_ORIGINS={wrong}: must be * or an origin such as https://ui.example.com"
        ]


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ("CLICKHOUSE_URL", "http://me:canary@host:8123"),
        ("CLICKHOUSE_URL", "me:canary@host"),
        ("REDIS_ADDR", "redis://:canary@host:6379"),
        ("REDIS_ADDR", ":canary@host:6379"),
        ("KAFKA_BROKERS", "one:9092,me:canary@two:9092"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(env: str, address: str) -> None:
    told = problems({}, {"STORAGE_BACKEND": "clickhouse", "CLICKHOUSE_URL": "http://h"} | {env: address})
    assert [line for line in told if line.startswith(f"{env}: must not contain a user or password; ")]
    assert "canary" not in " ".join(told)


def test_what_is_named_like_a_secret_is_one() -> None:
    for setting in catalogue():
        assert setting.spec.secret or not re.search("password|secret|token|options", setting.name), setting.env


def test_the_former_name_of_a_value_is_still_that_value() -> None:
    assert load({}, {"PARSEC_AUTH": "keys"}).settings.auth == load({}, {}).settings.auth == "required"


def test_an_unknown_value_is_told_the_right_ones() -> None:
    with pytest.raises(BadSettings, match=r"PARSEC_AUTH='none' \(environment\): must be required or warn or off"):
        load({}, {"PARSEC_AUTH": "none"})


@pytest.mark.parametrize("names", ["logs.example.com", "*.example.com,a.b", "*", "", "my_host", "LOGS.example.com."])
def test_host_names(names: str) -> None:
    assert load({}, {"PARSEC_ALLOWED_HOSTS": names}).settings.allowed_hosts == names


@pytest.mark.parametrize(
    "name",
    ["http://logs.example.com", "logs.example.com:8080", "logs/", "a b", "*.", "*a.com", "[::1]", "-a"],
)
def test_what_is_no_host_name_is_told(name: str) -> None:
    with pytest.raises(BadSettings, match=r"PARSEC_ALLOWED_HOSTS=.*must be a host name without scheme"):
        load({}, {"PARSEC_ALLOWED_HOSTS": f"good.example.com,{name}"})
