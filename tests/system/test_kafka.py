"""P1, P2 and P3 on Kafka: whatever was acknowledged is found exactly once, whatever happens to Parsec or to brokers."""

import json
import shutil
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from parsec.adapters.kafka.producer import MAYBE_DUPLICATE
from tests.support.kafka_parsec import assert_each_once, ids_in, on_kafka, until, wait_stored
from tests.support.kafka_server import KafkaServer
from tests.support.load import TENANT, Load, event
from tests.support.logs import group
from tests.support.process import Parsec
from tests.support.rounds import rounds_lose_nothing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def server(broker: KafkaServer) -> KafkaServer:
    return broker


def new_topic() -> str:
    """A name that no topic has; Parsec makes it."""
    return f"t-{uuid4().hex[:12]}"


def stop(parsec: Parsec) -> None:
    assert parsec.terminate() == 0, parsec.logs()[-4000:]


def loaded(parsec: Parsec, run: str, events: int = 1000) -> Load:
    load = Load(parsec.port, run, spool=True, pause_s=0.01).start()
    load.wait_for(events, lambda: parsec.process.poll() is None)
    return load


def wait_more(load: Load, events: int, parsec: Parsec) -> None:
    load.wait_for(len(load.acknowledged) + events, lambda: parsec.process.poll() is None, 60)


# Parsec in trouble


@pytest.mark.parametrize("end", [Parsec.kill, stop], ids=["kill9", "SIGTERM"])
def test_ends_under_load_lose_nothing(server: KafkaServer, tmp_path: Path, end: object) -> None:
    topic = new_topic()
    parsec = on_kafka(server, topic, tmp_path / "data", PARSEC_TOPIC_PARTITIONS="1")
    rounds_lose_nothing(parsec, 5, 7, 3000, end)  # type: ignore[arg-type]


def test_a_stop_of_an_idle_process_takes_no_time(server: KafkaServer, tmp_path: Path) -> None:
    with on_kafka(server, new_topic(), tmp_path / "data") as parsec:
        assert parsec.ingest([event("one")])[0] == 200
        started = time.monotonic()
        stop(parsec)
        assert time.monotonic() - started < 10
        assert "Traceback" not in parsec.logs()


# The spool, for brokers in trouble: more in test_kafka_brokers.py


def test_a_start_without_kafka_takes_events_and_gives_them_to_kafka_later(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    server.stop()
    try:
        with on_kafka(server, topic, tmp_path / "data", PARSEC_TOPIC_PARTITIONS="1") as parsec:
            status, answer = parsec.ingest([event(f"e{n}") for n in range(50)])
            assert (status, answer["ack"], answer["accepted"]) == (200, "spooled", 50)
            assert parsec.stats()["producer"]["messages_sent"] == 0
            parsec.kill()
            parsec.start()  # still without Kafka, now with something in the spool
            assert parsec.ingest([event("last")])[1]["ack"] == "spooled"
            server.start()
            assert wait_stored(parsec, server, topic, 1) >= 51
            assert sorted(e["id"] for e in parsec.search(TENANT)) == sorted([f"e{n}" for n in range(50)] + ["last"])
            assert parsec.ingest([event("direct")])[1]["ack"] == "durable"
            assert not list((tmp_path / "data" / "spool").glob("*/refused.ndjson"))
    finally:
        server.start()


def test_what_a_damaged_spool_loses_is_in_ledger_answers_and_audit(server: KafkaServer, tmp_path: Path) -> None:
    topic, data = new_topic(), tmp_path / "data"
    parsec = on_kafka(server, topic, data, PARSEC_TOPIC_PARTITIONS="1")
    server.pause()
    try:
        with parsec:
            for n in range(8):
                assert parsec.ingest([event(f"e{n}-{k}") for k in range(50)])[1]["ack"] == "spooled"
            parsec.kill()
    finally:
        server.resume()
    (segment,) = (data / "spool" / "0" / "segments").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    with parsec:
        until(lambda: parsec.stats()["ledger"].get("committed") == 400, parsec)
        stats = parsec.stats()
        ledger, (spool,) = stats["ledger"], stats["ledger"]["spools"]
        assert (ledger["lost"], ledger["stored"], ledger["difference"], ledger["in_flight"]) == (50, 350, 0, 0)
        assert (spool["spool"], spool["lost"], stats["spool"]["lost"]) == ("spool/0", 50, 50)
        assert sum(span["end"] - span["first"] for span in spool["where"]) == 50
        *_, missing = parsec.get(f"/query/events?tenant={TENANT}&from=0")[1]["missing"]
        assert missing.startswith("50 events accepted before ")
        assert "were lost in this machine's spool/0" in missing
        audit = parsec.get("/admin/audit")[1]
        assert (audit["difference"], audit["spools"]) == (0, [spool])
        stop(parsec)


def test_what_another_process_left_in_its_spool_is_adopted(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    data = tmp_path / "data"
    server.pause()
    try:
        with on_kafka(server, topic, data, PARSEC_TOPIC_PARTITIONS="1") as parsec:
            assert parsec.ingest([event("left")])[1]["ack"] == "spooled"
            parsec.kill()
    finally:
        server.resume()
    (data / "spool" / "0").rename(data / "spool" / "7")
    with on_kafka(server, topic, data, PARSEC_TOPIC_PARTITIONS="1") as parsec:
        until(lambda: [e["id"] for e in parsec.search(TENANT)] == ["left"], parsec)
        until(lambda: parsec.stats()["spool"]["waiting"] == 0, parsec)


def test_without_a_spool_nothing_is_accepted_while_kafka_is_away(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    with on_kafka(server, topic, tmp_path / "data", PARSEC_SPOOL="off", PARSEC_TOPIC_PARTITIONS="1") as parsec:
        load = loaded(parsec, "off")
        server.pause()
        try:
            until(lambda: load.refused > 0, parsec)
            until(lambda: parsec.get("/health")[0] == 503, parsec)
            assert parsec.get("/readyz")[0] == 503
            status, headers, _ = parsec.request("POST", "/ingest", json.dumps([event("no")]).encode())
            assert status == 503
            assert int(headers["retry-after"]) >= 1
        finally:
            server.resume()
        wait_more(load, 500, parsec)
        load.stop()
        assert load.spooled == 0
        assert not (tmp_path / "data" / "spool").exists()
        assert_each_once(parsec, server, topic, 1, load)


def test_a_full_spool_refuses_and_loses_nothing(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    small = {"PARSEC_LOG_MAX_BYTES": "256KiB", "PARSEC_TOPIC_PARTITIONS": "1"}
    with on_kafka(server, topic, tmp_path / "data", **small) as parsec:
        load = loaded(parsec, "full", 200)
        server.pause()
        try:
            until(lambda: load.refused > 0, parsec)
            assert parsec.get("/health")[1]["checks"]["kafka"]["status"] == "unhealthy"
        finally:
            server.resume()
        wait_more(load, 500, parsec)
        load.stop()
        assert load.spooled > 0
        assert_each_once(parsec, server, topic, 1, load)


# The topic


def test_a_topic_deleted_and_made_again_is_read_as_a_new_log(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    with on_kafka(server, topic, tmp_path / "data", PARSEC_TOPIC_PARTITIONS="1") as parsec:
        assert parsec.ingest([event(f"old-{n}") for n in range(20)])[0] == 200
        wait_stored(parsec, server, topic, 1)
        server.remake_topic(topic)
        accepted: set[str] = set()

        def durable_again() -> bool:
            name = f"new-{len(accepted)}"
            status, answer = parsec.ingest([event(name)])
            accepted.update([name] if status == 200 else [])
            return status == 200 and answer["ack"] == "durable" and len(accepted) > 20

        until(durable_again, parsec)
        wanted = {f"old-{n}" for n in range(20)} | accepted
        until(lambda: {e["id"] for e in parsec.search(TENANT)} == wanted, parsec)
        assert len(parsec.search(TENANT)) == len(wanted)


def test_what_may_have_been_sent_before_is_looked_for_beyond_the_window(server: KafkaServer, tmp_path: Path) -> None:
    topic = server.make_topic()
    with on_kafka(server, topic, tmp_path / "data", PARSEC_DEDUP_WINDOW="1s") as parsec:
        assert parsec.ingest([event("doubtful"), event("new")])[1]["ack"] == "durable"
        for n in range(6):  # the window moves on with what comes in
            time.sleep(0.5)
            assert parsec.ingest([event(f"tick-{n}")])[0] == 200
        held = wait_stored(parsec, server, topic, 1)
        doubtful, new = [message.value() or b"" for message in server.records(topic)[:2]]
        server.put(topic, [doubtful, doubtful], headers=[(MAYBE_DUPLICATE, b"")])
        server.put(topic, [new])
        assert wait_stored(parsec, server, topic, 1) == held + 3
        copies = Counter(each["id"] for each in parsec.search(TENANT))
        assert copies["doubtful"] == 1
        assert copies["new"] == 2, "nothing says that this one was sent before"
        ledger = parsec.stats()["ledger"]
        assert (ledger["duplicate"], ledger["dead"], ledger["difference"]) == (2, 0, 0)
        assert parsec.get("/admin/audit")[1]["difference"] == 0


def test_foreign_messages_become_dead_letters(server: KafkaServer, tmp_path: Path) -> None:
    topic = server.make_topic()
    server.put(topic, [b"", b"no json", b'{"v":1}', b"\xff\x00", b"[]"])
    with on_kafka(server, topic, tmp_path / "data") as parsec:
        assert parsec.ingest([event("ours")])[1]["ack"] == "durable"
        assert wait_stored(parsec, server, topic, 1) == 6
        ledger = parsec.stats()["ledger"]
        assert (ledger["stored"], ledger["dead"], ledger["difference"]) == (1, 5, 0)
        _, told = parsec.get("/deadletters?tenant=-")
        assert sorted(each["position"].split("/")[1:] for each in told["dead_letters"]) == [
            ["0", str(n)] for n in range(5)
        ]
        _, letter = parsec.get(f"/deadletters/{min(each['position'] for each in told['dead_letters'])}?tenant=-")
        assert (letter["reason"], letter["raw_bytes"], letter["raw"]) == ("invalid_envelope", 0, "")


def test_what_expired_before_it_was_read_is_counted_as_lost(server: KafkaServer, tmp_path: Path) -> None:
    topic = server.make_topic()
    made = [group(first, 30, tenant=TENANT).lines.splitlines() for first in (0, 30)]
    parsec = on_kafka(server, topic, tmp_path / "data")
    with parsec:
        server.put(topic, made[0])
        assert wait_stored(parsec, server, topic, 1) == 30
        parsec.kill()
        server.put(topic, made[1])
        server.expire(topic, 45)
        parsec.start()
        until(lambda: parsec.stats()["ledger"].get("committed") == 60, parsec)
        ledger = parsec.stats()["ledger"]
        assert (ledger["stored"], ledger["lost"], ledger["difference"]) == (45, 15, 0)
        assert (ledger["partitions"][0]["lag"], ledger["in_flight"]) == (0, 0)
        metrics = parsec.get("/metrics")[1].decode()
        assert 'parsec_process_events_total{fate="lost"} 15.0' in metrics
        assert 'parsec_process_partition_lag_events{partition="0"} 0.0' in metrics
        told = [json.loads(line) for line in parsec.logs().splitlines()]
        assert [each["events"] for each in told if "log lost events" in each["event"]] == [15]
        assert {each["level"] for each in told if "log lost events" in each["event"]} == {"error"}


def test_a_topic_that_cannot_be_made_ends_the_start(server: KafkaServer, tmp_path: Path) -> None:
    parsec = on_kafka(server, new_topic(), tmp_path / "data", PARSEC_TOPIC_REPLICATION="3").start(wait=False)
    assert parsec.process.wait(30) == 3
    assert "PARSEC_TOPIC_REPLICATION" in parsec.logs()


def test_an_event_above_the_limit_of_the_topic_is_refused_at_the_door(server: KafkaServer, tmp_path: Path) -> None:
    topic = server.make_topic(max_message_bytes="4096")
    with on_kafka(server, topic, tmp_path / "data") as parsec:
        status, answer = parsec.ingest([event("small"), event("large", message="x" * 8000)])
        assert (status, answer["accepted"], answer["ack"]) == (200, 1, "durable")
        assert [(error["id"], error["code"]) for error in answer["errors"]] == [("large", "event_too_large")]
        assert ids_in(server, topic, 1) == {"small": 1}


def test_one_connection_keeps_the_order_of_its_tenant(server: KafkaServer, tmp_path: Path) -> None:
    topic = new_topic()
    with on_kafka(server, topic, tmp_path / "data", PARSEC_TOPIC_PARTITIONS="3") as parsec:
        load = Load(parsec.port, "order", clients=3, batch=7).start()
        load.wait_for(1500, lambda: parsec.process.poll() is None)
        load.stop()
    last: dict[str, int] = {}
    for message in server.records(topic, 3):
        _, client, number = json.loads(message.value() or b"")["id"].split("-")
        assert last.get(client, -1) < int(number)
        last[client] = int(number)
    assert len(last) == 3


def test_a_store_that_is_gone_is_stored_again_from_the_topic(server: KafkaServer, tmp_path: Path) -> None:
    topic, data = new_topic(), tmp_path / "data"
    with on_kafka(server, topic, data, PARSEC_TOPIC_PARTITIONS="2") as parsec:
        for tenant in ("acme", "other", "third"):
            assert parsec.ingest([event(f"{tenant}-{n}", tenant) for n in range(200)])[1]["accepted"] == 200
            assert parsec.ingest([event(f"{tenant}-{n}", tenant) for n in range(50)])[1]["accepted"] == 50
        wait_stored(parsec, server, topic, 2)
        parsec.kill()
        shutil.rmtree(data / "store")
        parsec.start()
        assert parsec.ingest([event("new", "acme")])[0] == 200
        until(lambda: parsec.get("/admin/audit")[1]["recounted"] == 751, parsec)
        until(lambda: parsec.get("/admin/audit")[1]["difference"] == 0, parsec)
        for tenant, more in (("acme", ["new"]), ("other", []), ("third", [])):
            ids = Counter(each["id"] for each in parsec.search(tenant))
            assert ids == Counter([*(f"{tenant}-{n}" for n in range(200)), *more])
