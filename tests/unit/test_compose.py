"""docker-compose.yml without a container engine: its schema, what `make up` promises of it, and the verbs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from parsec.core.loopback import is_loopback
from parsec.loading import load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PORTS = {"kafka": 9092, "clickhouse": 8123, "redis": 6379}
RUN = "docker compose"

servers = pytest.mark.parametrize("name", PORTS)


def environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name]["environment"].items()}


def locked(package: str) -> str:
    """The version in the lock file."""
    found = re.search(rf"^{package}==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_schema_of_compose_files_holds() -> None:
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_reads_it() -> None:
    """Where there is a docker compose; it needs no engine for this."""
    if _runs("version"):
        done = subprocess.run([*RUN.split(), "--profile", "parsec", "config", "--quiet"], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, done.stderr


def _runs(*arguments: str) -> bool:
    try:
        return subprocess.run([*RUN.split(), *arguments], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_up_starts_the_servers_and_up_all_parsec_too() -> None:
    without_profile = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert without_profile == PORTS.keys()
    assert SERVICES.keys() - without_profile == {"parsec"}
    assert SERVICES["parsec"]["profiles"] == ["parsec"]
    assert SERVICES["parsec"]["depends_on"] == {name: {"condition": "service_healthy"} for name in PORTS}


@servers
def test_a_server_has_its_usual_port_on_loopback_only(name: str) -> None:
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
    assert "network_mode" not in SERVICES[name]


@servers
def test_an_image_is_named_by_its_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)*(-alpine)?", tag)


def test_kafka_and_clickhouse_are_the_versions_that_the_tests_run_on() -> None:
    pom = (ROOT / "tests" / "support" / "services" / "kafka" / "pom.xml").read_text()
    tested = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>(.*)</version>", pom)
    assert tested
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"
    engine = ".".join(locked("chdb-core-lite").split(".")[:2])
    assert SERVICES["clickhouse"]["image"] == f"clickhouse/clickhouse-server:{engine}"


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_checked_and_keeps_its_data_in_a_volume_of_its_own(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"].keys() == {"test", "interval", "timeout", "start_period"}
    assert service["restart"] == "unless-stopped"
    (volume,) = service["volumes"]
    source, _, target = volume.partition(":")
    assert source == f"{name}-data"
    assert target.startswith("/")


def test_the_volumes_are_declared() -> None:
    assert COMPOSE["volumes"] == {f"{name}-data": None for name in SERVICES}


def test_kafka_is_found_by_programs_of_this_machine_and_by_other_containers() -> None:
    settings = environment("kafka")
    assert settings["KAFKA_PROCESS_ROLES"] == "broker,controller"
    advertised = _listeners(settings["KAFKA_ADVERTISED_LISTENERS"])
    assert advertised == {"HOST": "127.0.0.1:9092", "CONTAINERS": "kafka:19092"}
    listening = _listeners(settings["KAFKA_LISTENERS"])
    assert listening == {"HOST": ":9092", "CONTAINERS": ":19092", "CONTROLLER": ":9093"}
    protocols = dict(each.split(":") for each in settings["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols == dict.fromkeys(listening, "PLAINTEXT")
    assert settings["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    assert settings["KAFKA_CONTROLLER_LISTENER_NAMES"] == "CONTROLLER"
    assert settings["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{settings['KAFKA_NODE_ID']}@localhost:9093"
    assert f":{settings['KAFKA_LOG_DIRS']}" in SERVICES["kafka"]["volumes"][0]
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", settings["CLUSTER_ID"])


def _listeners(text: str) -> dict[str, str]:
    return dict(each.split("://", 1) for each in text.split(","))


def test_redis_forgets_no_claim() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_parsec_uses_all_of_them_and_is_reached_by_this_machine_only() -> None:
    parsec = SERVICES["parsec"]
    settings = load({}, environment("parsec")).settings
    assert settings.kafka_brokers == "127.0.0.1:9092"
    assert settings.storage_backend == "clickhouse"
    assert settings.clickhouse_url == "http://127.0.0.1:8123"
    assert settings.redis_addr == "127.0.0.1:6379"
    # On the network of this machine, where a Parsec without keys serves no address but loopback.
    assert parsec["network_mode"] == "host"
    assert "ports" not in parsec
    assert is_loopback(settings.host)
    assert settings.auth != "off"
    assert int(parsec["stop_grace_period"].removesuffix("s")) > settings.shutdown_timeout


@pytest.mark.parametrize(
    ("verb", "command"),
    [
        ("up", f"{RUN} up --detach --wait"),
        ("up-all", f"{RUN} --profile parsec up --build --detach --wait"),
        ("down", f"{RUN} --profile parsec down"),
    ],
)
def test_a_verb_of_make_calls_docker_compose(verb: str, command: str) -> None:
    command_line = ["make", "-n", "--no-print-directory", verb]
    done = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, command), done.stderr


def test_the_command_of_the_documentation_is_made_of_settings() -> None:
    """`make up`, then `make run` on what runs."""
    text = (ROOT / "docs" / "operations.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip().endswith(" make run")]
    assert len(lines) == 1
    words = dict(word.split("=", 1) for word in lines[0].split()[:-2])
    settings = load({}, words).settings
    hosts = (settings.kafka_brokers, settings.clickhouse_url.removeprefix("http://"), settings.redis_addr)
    assert hosts == tuple(f"localhost:{port}" for port in PORTS.values())
    assert settings.storage_backend == "clickhouse"
