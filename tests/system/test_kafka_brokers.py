"""Brokers in trouble under load: what was acknowledged is found once, counters are exact, answers stay quick."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from tests.support.kafka_parsec import assert_each_once, on_kafka, until
from tests.support.kafka_server import KafkaServer, kafka_server
from tests.support.load import TENANT, Load, event
from tests.support.process import Parsec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LONGEST_ANSWER_S = 8.0
"""The publish deadline, a purge, and what two cores shared with a broker that starts add to it."""
PAUSE_S = 30.0


@pytest.fixture
def server(broker: KafkaServer) -> KafkaServer:
    return broker


def new_topic() -> str:
    """A name that no topic has; Parsec makes it."""
    return f"t-{uuid4().hex[:12]}"


def loaded(parsec: Parsec, run: str, events: int = 1000) -> Load:
    load = Load(parsec.port, run, spool=True, pause_s=0.02).start()
    load.wait_for(events, lambda: parsec.process.poll() is None, 60)
    return load


def wait_more(load: Load, events: int, parsec: Parsec) -> None:
    load.wait_for(len(load.acknowledged) + events, lambda: parsec.process.poll() is None, 60)


def kafka_state(parsec: Parsec) -> str:
    return str(parsec.get("/health")[1]["checks"]["kafka"]["status"])


def assert_exact(parsec: Parsec, server: KafkaServer, topic: str, partitions: int, load: Load) -> None:
    """Each acknowledged event once; every counter says what was answered and what the topic has."""
    assert not load.unanswered
    assert load.slowest_s < LONGEST_ANSWER_S
    stats = assert_each_once(parsec, server, topic, partitions, load)
    spool, sent = stats["spool"], stats["producer"]["messages_sent"]
    assert (spool["waiting"], spool["refused"]) == (0, 0)
    # Requests are written together: an answer says "spooled" also where Kafka has some events of them.
    assert spool["drained"] == spool["written"] <= load.spooled
    assert bool(spool["written"]) == bool(load.spooled)
    # Each event was acknowledged by Kafka once, however often it was sent.
    assert sent == stats["ledger"]["stored"] == len(load.acknowledged)
    assert stats["worker"] == {"processed": sent, "failed": 0}
    assert stats["producer"]["messages_failed"] == 0


@pytest.mark.parametrize("trouble", ["kill9", "restart", "pause", "away"])
def test_trouble_of_a_broker_under_load_loses_nothing(server: KafkaServer, tmp_path: Path, trouble: str) -> None:
    topic = new_topic()
    with on_kafka(server, topic, tmp_path / "data", PARSEC_TOPIC_PARTITIONS="2") as parsec:
        load = loaded(parsec, trouble)
        try:
            if trouble == "restart":
                server.restart()
            elif trouble == "pause":
                server.pause()
                wait_more(load, 500, parsec)
                time.sleep(PAUSE_S)
                server.resume()
            else:
                server.kill9()
                if trouble == "away":
                    wait_more(load, 500, parsec)
                    assert parsec.get("/health")[0] == 200
                    assert kafka_state(parsec) == "degraded"
                    assert parsec.get("/readyz")[0] == 200
                    time.sleep(4)  # beyond the publish deadline, which is when a delivery is given up
                server.start()
            wait_more(load, 500, parsec)
            until(lambda: kafka_state(parsec) == "healthy", parsec)
            wait_more(load, 500, parsec)
        finally:
            load.stop()
        assert trouble not in ("pause", "away") or load.spooled > 0
        assert_exact(parsec, server, topic, 2, load)


def test_a_start_without_kafka_under_load_loses_nothing(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    server.stop()
    try:
        with on_kafka(server, topic, tmp_path / "data", PARSEC_TOPIC_PARTITIONS="2") as parsec:
            load = loaded(parsec, "absent")
            try:
                assert load.spooled >= 1000
                assert parsec.stats()["producer"]["messages_sent"] == 0
                server.start()
                until(lambda: kafka_state(parsec) == "healthy", parsec)
                wait_more(load, 500, parsec)
            finally:
                load.stop()
            assert len(load.acknowledged) > load.spooled
            assert_exact(parsec, server, topic, 2, load)
    finally:
        server.start()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with kafka_server(tmp_path_factory.mktemp("three"), 3) as running:
        yield running


def test_one_of_three_brokers_killed_under_load(three: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    settings = {"PARSEC_TOPIC_PARTITIONS": "6", "PARSEC_TOPIC_REPLICATION": "3"}
    with on_kafka(three, topic, tmp_path / "data", **settings) as parsec:
        tenants = [f"{TENANT}-{n}" for n in range(12)]  # so that each broker leads what some of them write
        load = Load(parsec.port, "three", clients=2, spool=True, pause_s=0.02, tenants=tenants).start()
        try:
            wait_more(load, 500, parsec)
            three.kill9(1)
            wait_more(load, 2000, parsec)
            until(lambda: kafka_state(parsec) == "healthy", parsec)  # two of three are enough
            three.start(1)
            wait_more(load, 500, parsec)
        finally:
            load.stop()
        assert_exact(parsec, three, topic, 6, load)


@pytest.mark.parametrize("trouble", ["pause", "kill9"])
def test_a_stop_while_kafka_is_away(server: KafkaServer, tmp_path: Path, trouble: str) -> None:
    """Within the timeout and with exit code 0, whatever the processor, the drain and the workers wait for."""
    topic = new_topic()
    settings = {"PARSEC_TOPIC_PARTITIONS": "6", "PARSEC_SHUTDOWN_TIMEOUT_S": "15"}
    parsec = on_kafka(server, topic, tmp_path / "data", **settings)
    tenants = [f"{TENANT}-{n}" for n in range(12)]
    with parsec:
        load = Load(parsec.port, trouble, spool=True, tenants=tenants).start()
        try:
            wait_more(load, 3000, parsec)
            if trouble == "pause":
                server.pause()
            else:
                server.kill9()
            wait_more(load, 500, parsec)
            began = time.monotonic()
            code = parsec.terminate()
            took_s = time.monotonic() - began
            load.stop()
        finally:
            if trouble == "pause":
                server.resume()
            else:
                server.start()
        assert code == 0, parsec.logs()[-4000:]
        assert took_s < 15, parsec.logs()[-4000:]
        assert "Traceback" not in parsec.logs()
        parsec.start()
        assert_each_once(parsec, server, topic, 6, load)


def test_a_topic_that_is_gone_and_cannot_be_made_again(server: KafkaServer, tmp_path: Path) -> None:
    topic = server.make_topic()
    settings = {"PARSEC_TOPIC_REPLICATION": "3", "PARSEC_TOPIC_PARTITIONS": "1"}
    with on_kafka(server, topic, tmp_path / "data", **settings) as parsec:
        assert parsec.ingest([event("before")])[1]["ack"] == "durable"
        until(lambda: parsec.stats()["ledger"].get("stored") == 1, parsec)
        server.admin.delete_topics([topic])[topic].result(30)
        until(lambda: parsec.get("/readyz")[0] == 503, parsec)
        status, health = parsec.get("/health")
        assert status == 503
        assert "PARSEC_TOPIC_REPLICATION" in health["checks"]["kafka"]["why"]  # says what to do
        assert parsec.ingest([event("while")])[1]["ack"] == "spooled"  # and loses nothing until it is done
        assert parsec.get("/livez")[0] == 200  # a restart would not help
        try:
            server.admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        except KafkaException as error:
            raise AssertionError(error) from error
        until(lambda: parsec.get("/readyz")[0] == 200, parsec)
        assert parsec.ingest([event("after")])[0] == 200
        until(lambda: {"before", "while", "after"} == {each["id"] for each in parsec.search(TENANT)}, parsec)
        assert len(parsec.search(TENANT)) == 3
