"""Who may come in, and who else can read: TLS and SASL by name on a real broker, and kcat on the topic."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from parsec.ports.broker import Counts
from tests.support.kafka_parsec import on_kafka, until
from tests.support.kafka_partitions import partition_of
from tests.support.kafka_reading import Reading, publish, secured
from tests.support.kafka_reading import until as until_read
from tests.support.kafka_server import KafkaServer, kafka_server
from tests.support.load import TENANT, event
from tests.support.prerequisites import require
from tests.support.tls import certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Guarded:
    """A broker behind TLS, and SASL for its user."""

    def __init__(self, server: KafkaServer, made: Path, key: Path) -> None:
        self.server = server
        self.made = made
        self.key = key


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    made, key = certificate(directory)
    both = directory / "both.pem"
    both.write_bytes(key.read_bytes() + made.read_bytes())
    with kafka_server(directory / "kafka", sasl="parsec:secret", tls=both) as server:
        yield Guarded(server, made, key)


def sasl(guarded: Guarded, mechanism: str) -> dict[str, str]:
    return {
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": str(guarded.made),
        "sasl.mechanism": mechanism,
        "sasl.username": "parsec",
    }


def assert_works(address: str, topic: str, options: Mapping[str, str]) -> None:
    """Written, read and committed."""
    opened = secured(address, topic, options)
    writer = opened.writer()
    publish(writer, 0, 5)
    reading = Reading(opened)
    until_read(lambda: len(reading.values()) >= 5, reading)
    reading.reader.commit(0, reading.owned[0].epoch, reading.at(), Counts(stored=reading.at()))
    reading.reader.close()
    writer.close()


def assert_refused(address: str, topic: str, options: Mapping[str, str]) -> None:
    opened = secured(address, topic, options, deadline_s=2.0)
    opened.ensure_topic()  # no reason not to start: a password can be mended
    assert not opened.breaker.health().connected


def test_sasl_by_name_over_tls(guarded: Guarded) -> None:
    topic, address = guarded.server.make_topic(), guarded.server.sasl_address
    for mechanism in MECHANISMS:
        assert_works(address, topic, sasl(guarded, mechanism) | {"sasl.password": "secret"})
    assert_refused(address, topic, sasl(guarded, "PLAIN") | {"sasl.password": "wrong"})


def test_tls_on_both_sides(guarded: Guarded, tmp_path: Path) -> None:
    topic, address = guarded.server.make_topic(), guarded.server.tls_address
    trusting = {"security.protocol": "ssl", "ssl.ca.location": str(guarded.made)}
    ours = {"ssl.certificate.location": str(guarded.made), "ssl.key.location": str(guarded.key)}
    assert_works(address, topic, trusting | ours)
    assert_refused(address, topic, trusting)  # the broker asks for a certificate
    other, _ = certificate(tmp_path)
    assert_refused(address, topic, trusting | ours | {"ssl.ca.location": str(other)})  # we do not trust the broker's


def test_the_settings_by_their_names(guarded: Guarded, tmp_path: Path) -> None:
    server = guarded.server
    topic = server.make_topic()
    settings = {
        "KAFKA_BROKERS": server.sasl_address,
        "PARSEC_KAFKA_PASSWORD": "secret",
        "PARSEC_KAFKA_OPTIONS": ",".join(f"{name}={value}" for name, value in sasl(guarded, "SCRAM-SHA-512").items()),
    }
    with on_kafka(server, topic, tmp_path / "data", **settings) as parsec:
        assert parsec.ingest([event("guarded")])[1]["ack"] == "durable"
        until(lambda: [each["id"] for each in parsec.search(TENANT)] == ["guarded"], parsec)
        assert "secret" not in parsec.logs().replace("secretly", "")


def kcat(*arguments: str) -> str:
    require("kcat is not installed" if shutil.which("kcat") is None else None)
    done = subprocess.run(["kcat", *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "lz4", "zstd"])
def test_kcat_reads_plain_json_with_the_tenant_as_key(broker: KafkaServer, tmp_path: Path, compression: str) -> None:
    topic = broker.make_topic(partitions=3)
    with on_kafka(broker, topic, tmp_path / "data", KAFKA_COMPRESSION=compression) as parsec:
        sent = [event(f"e{n}", tenant=f"tenant-{n % 5}") for n in range(100)]
        assert parsec.ingest(sent)[1]["ack"] == "durable"
    told = kcat("-C", "-q", "-e", "-b", broker.address, "-t", topic, "-o", "beginning", "-f", "%p %k %h %s\n")
    found = {}
    for line in told.splitlines():
        partition, key, rest = line.split(" ", 2)
        headers, text = rest.split("{", 1)
        read = json.loads("{" + text)
        assert headers.strip() == ""  # none of it is in doubt
        assert key == read["tenant_id"]
        assert int(partition) == partition_of(key, 3)  # where Kafka's own clients put it
        found[read["id"]] = (read["tenant_id"], read["message"], read["severity"], read["source"])
    assert found == {
        each["id"]: tuple(each[n] for n in ("tenant_id", "message", "severity", "source")) for each in sent
    }
    assert len(told.splitlines()) == 100
