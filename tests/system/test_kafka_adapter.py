"""The Kafka adapter on real brokers: killed, paused, filled by others, with topics that come back as others.

Numbers in parentheses are invariants of parsec.adapters.kafka.reader (R) and parsec.adapters.kafka.writer (W).
"""

import json
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.producer import MAYBE_DUPLICATE, Record
from parsec.adapters.kafka.writer import KafkaWriter, NotAcknowledged, records_of
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.envelope import encode_lines
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Counts, Group, Range
from tests.support.events import envelope
from tests.support.kafka_partitions import partition_of
from tests.support.kafka_reading import Reading, kafka, publish, until
from tests.support.kafka_server import KafkaServer
from tests.support.logs import group

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def server(broker: KafkaServer) -> KafkaServer:
    return broker


class Sender:
    """Publishes groups from a thread until told to stop, and gives what was not acknowledged again, as a spool does."""

    def __init__(self, writer: KafkaWriter) -> None:
        self.published: list[bytes] = []
        self.failures = 0
        self.groups = 0
        self._writer = writer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait(self, groups: int) -> None:
        end = time.monotonic() + 60
        wanted = self.groups + groups
        while self.groups < wanted:
            assert self._thread.is_alive()
            assert time.monotonic() < end
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            made = group(self.groups * 20, 20)
            left = records_of(made)
            while left:
                try:
                    self._writer.send(left)
                    left = []
                except NotAcknowledged as error:
                    self.failures += 1
                    left = list(error.records)
            self.published += made.lines.splitlines()
            self.groups += 1


def test_each_compression_carries_plain_json_keyed_by_tenant(server: KafkaServer) -> None:
    topic = server.make_topic(partitions=3)
    sent: dict[bytes, str] = {}
    for number, compression in enumerate(("none", "snappy", "gzip", "lz4", "zstd")):
        options = KafkaOptions(brokers=server.address, topic=topic, compression=compression, deadline_s=30)
        writer = KafkaCluster(options, SystemClock(), SystemRandom()).writer()
        events = [
            envelope(n, tenant=f"tenant-{n % 9}", message=compression) for n in range(number * 99, number * 99 + 99)
        ]
        made = Group(events, encode_lines(events))
        writer.publish([made])
        writer.close()
        sent |= dict(zip(made.lines.splitlines(), [event.tenant_id for event in events], strict=True))
    found = server.records(topic, 3, len(sent))
    assert Counter(message.value() for message in found) == Counter(sent.keys())
    for message in found:
        value, key = message.value(), message.key()
        assert value is not None
        assert key == sent[value].encode() == json.loads(value)["tenant_id"].encode()
        assert message.partition() == partition_of(sent[value], 3)
        assert message.headers() is None


def test_partitions_that_are_added_are_read_soon(server: KafkaServer) -> None:
    topic = server.make_topic()
    readers = [Reading(kafka(server.address, topic)) for _ in range(2)]
    try:
        until(lambda: any(each.owned for each in readers), *readers)
        server.put(topic, [b"before"])
        until(lambda: sum(len(each.slices) for each in readers) == 1, *readers)
        added = time.monotonic()
        server.add_partitions(topic, 4)
        for partition in (1, 2, 3):
            server.put(topic, [b"after"], partition)
        until(lambda: sum(len(piece.values) for each in readers for piece in each.slices) == 4, *readers)
        assert time.monotonic() - added < 12
        assert all(each.owned for each in readers), "both of the group read some of them"
    finally:
        for each in readers:
            each.reader.close()


@pytest.mark.parametrize("trouble", ["kill9", "restart", "pause"])
def test_what_was_acknowledged_survives_a_broker_in_trouble(server: KafkaServer, trouble: str) -> None:
    topic = server.make_topic()
    writer = kafka(server.address, topic, deadline_s=1.0).writer()
    sender = Sender(writer)
    try:
        for _ in range(2):
            sender.wait(30)
            if trouble == "restart":
                server.restart()
            elif trouble == "kill9":
                server.kill9()
                server.start()
            else:
                server.pause()
                time.sleep(3)
                server.resume()
            sender.wait(30)
    finally:
        sender.stop()
        writer.close()
    found = server.records(topic, 1, len(sender.published))
    assert {message.value() for message in found} == set(sender.published)
    # Whatever is there twice says of itself that it may be (W3).
    plain = Counter(message.value() for message in found if message.headers() is None)
    assert max(plain.values()) == 1
    assert trouble != "pause" or sender.failures > 0


def test_a_publish_ends_at_its_deadline_and_leaves_nothing_behind(server: KafkaServer) -> None:
    topic = server.make_topic()
    opened = kafka(server.address, topic, deadline_s=2.0)
    writer = opened.writer()
    known = publish(writer, 0, 10)
    server.pause()
    try:
        started = time.monotonic()
        with pytest.raises(NotAcknowledged) as caught:
            writer.publish([group(10, 10)])
        assert time.monotonic() - started < 6  # the deadline and a purge (W1)
        assert [record.value for record in caught.value.records] == group(10, 10).lines.splitlines()
        assert all(record.maybe_duplicate for record in caught.value.records)
        assert writer.refuses() is not None
        assert opened.breaker.health().why is not None
    finally:
        server.resume()
    time.sleep(1.1)
    assert writer.refuses() is None
    after = publish(writer, 20, 10)
    assert writer.refuses() is None
    found = [message.value() for message in server.records(topic, 1, 20)]
    assert [value for value in found if value in known + after] == known + after  # W4
    assert max(Counter(found).values()) == 1  # W2: the broker may have had the ten in hand, once
    writer.close()
    with pytest.raises(Fatal):
        writer.publish([group(0, 1)])


def test_one_record_that_is_too_large_fails_alone(server: KafkaServer) -> None:
    topic = server.make_topic(max_message_bytes="3000")
    opened = kafka(server.address, topic)
    opened.ensure_topic()
    assert opened.max_event_bytes(1 << 18) < 3000
    writer = opened.writer()
    events = [envelope(n, message="é" if n != 5 else "".join(map(chr, range(32, 3000)))) for n in range(10)]
    with pytest.raises(NotAcknowledged) as caught:
        writer.publish([Group(events, encode_lines(events))])
    assert [json.loads(record.value)["id"] for record in caught.value.records] == ["evt-5"]
    assert list(caught.value.refused) == list(caught.value.records)
    assert not caught.value.records[0].maybe_duplicate
    assert writer.refuses() is None
    found = [json.loads(message.value() or b"")["id"] for message in server.records(topic, 1, 9)]
    assert sorted(found) == sorted(f"evt-{n}" for n in range(10) if n != 5)
    writer.close()


def test_a_missing_topic_is_made_and_one_that_cannot_be_is_fatal(server: KafkaServer) -> None:
    opened = kafka(server.address, "made-by-parsec")
    opened.ensure_topic()
    topic = opened.topic.info
    assert topic is not None
    assert (topic.partitions, topic.max_message_bytes, len(topic.log_id)) == (1, 1048588, 22)
    options = KafkaOptions(brokers=server.address, topic="never-made", replication=3, deadline_s=5)
    never = KafkaCluster(options, SystemClock(), SystemRandom())
    with pytest.raises(Fatal, match="PARSEC_TOPIC_REPLICATION"):
        never.ensure_topic()
    writer = never.writer()
    with pytest.raises(NotAcknowledged, match="cannot be created"):  # later it is no reason to stop
        writer.publish([group(0, 1)])
    assert "cannot be created" in str(writer.refuses())
    writer.close()


def test_a_start_without_kafka_works_once_it_is_there(tmp_path: Path, server: KafkaServer) -> None:
    topic = server.make_topic()
    server.stop()
    try:
        opened = kafka(server.address, topic, deadline_s=0.5)
        opened.ensure_topic()
        assert not opened.breaker.health().connected
        writer, reading = opened.writer(), Reading(opened)
        with pytest.raises(NotAcknowledged) as caught:
            writer.publish([group(0, 5)])
        assert not any(record.maybe_duplicate for record in caught.value.records)
        reading.turn()
    finally:
        server.start()
    end = time.monotonic() + 30
    while not opened.breaker.health().connected:
        assert time.monotonic() < end
        opened.probe()
    writer.close()
    writer = kafka(server.address, topic).writer()
    sent = publish(writer, 0, 5)
    until(lambda: reading.values() == sent, reading)
    reading.reader.close()
    writer.close()


def test_reservation_and_counts_survive_a_killed_broker(server: KafkaServer) -> None:  # R4
    topic = server.make_topic()
    opened = kafka(server.address, topic)
    writer, first = opened.writer(), Reading(opened)
    sent = publish(writer, 0, 100)
    until(lambda: first.values() == sent, first)
    epoch, log_id = first.owned[0].epoch, first.owned[0].progress.log_id
    counts = Counts(stored=30, duplicate=5, dead=4, lost=1)
    first.reader.commit(0, epoch, 40, counts)
    taken = Range(log_id, 0, 40, 69)
    first.reader.reserve(taken, epoch, 3)
    server.kill9()
    server.start()
    first.reader.close()
    second = Reading(opened)
    until(lambda: bool(second.owned), second)
    progress = second.owned[0].progress
    assert (progress.log_id, progress.start, progress.committed, progress.counts) == (log_id, 0, 40, counts)
    assert (progress.reserved, progress.attempt) == (taken, 3)
    until(lambda: len(second.values()) >= 60, second)
    assert second.values() == sent[40:]
    second.reader.close()
    writer.close()


def test_a_rebalance_ends_epochs_and_a_stale_owner_commits_nothing(server: KafkaServer) -> None:
    topic = server.make_topic(partitions=4)
    opened = kafka(server.address, topic)
    for partition in range(4):
        server.put(topic, [b"%d-%d" % (partition, n) for n in range(50)], partition)
    first = Reading(opened)
    until(lambda: len(first.values()) == 200, first)
    before = dict(first.owned)
    for partition, begin in before.items():
        first.reader.commit(partition, begin.epoch, 10, Counts(stored=10))
    for partition in range(4):
        first.reader.pause(partition)
        server.put(topic, [b"late-%d" % partition], partition)
    second = Reading(opened)
    until(lambda: len(first.owned) == 2 and len(second.owned) == 2, first, second)
    moved = sorted(second.owned)
    assert sorted(first.ended) == moved
    assert all(first.owned[kept] == before[kept] for kept in first.owned)  # cooperative: the same epochs go on
    assert all(begin.progress.counts == Counts(stored=10) for begin in second.begins)
    # Invariant R2: what the first still has in hand of the partitions that moved goes nowhere.
    for partition in moved:
        second.reader.commit(partition, second.owned[partition].epoch, 20, Counts(stored=20))
        stale = before[partition]
        first.reader.commit(partition, stale.epoch, 50, Counts(stored=50))
        with pytest.raises(Retryable):
            first.reader.reserve(Range(stale.progress.log_id, partition, 10, 49), stale.epoch, 1)
    # A pause outlives the rebalance, and so does what waits behind it.
    for _ in range(10):
        first.turn()
    assert not [value for value in first.values() if value.startswith(b"late")]
    kept = sorted(first.owned)
    for partition in kept:
        first.reader.resume(partition)
    until(lambda: {b"late-%d" % partition for partition in kept} <= set(first.values()), first, second)
    second.reader.close()
    until(lambda: len(first.owned) == 4, first)
    assert {p: first.owned[p].progress.committed for p in range(4)} == {
        p: 20 if p in moved else 0 for p in range(4)
    } | {p: before[p].progress.committed for p in kept}
    assert all(first.owned[partition].progress.counts == Counts(stored=20) for partition in moved)
    first.reader.close()


def test_a_reader_that_did_not_poll_for_too_long_commits_nothing(server: KafkaServer) -> None:
    topic = server.make_topic()
    opened = kafka(server.address, topic, max_poll_interval_ms="6000", session_timeout_ms="6000")
    server.put(topic, [b"a"] * 10)
    reading = Reading(opened)
    until(lambda: len(reading.values()) == 10, reading)
    old = reading.owned[0]
    reading.reader.pause(0)  # ends with the epoch
    time.sleep(6.5)
    reading.reader.commit(0, old.epoch, 10, Counts(stored=10))  # R2: dropped here, not by the broker
    with pytest.raises(Retryable, match="epoch"):
        reading.reader.reserve(Range(old.progress.log_id, 0, 0, 9), old.epoch, 1)
    until(lambda: len(reading.begins) == 2, reading)
    assert reading.ended == [0]
    assert reading.owned[0].progress.committed == 0
    until(lambda: len(reading.values()) == 20, reading)
    reading.reader.commit(0, reading.owned[0].epoch, 10, Counts(stored=10))
    reading.reader.close()


@pytest.mark.parametrize("count", [3, 20, 60])
def test_a_topic_made_again_is_another_log_and_nothing_of_it_is_swallowed(server: KafkaServer, count: int) -> None:
    topic = server.make_topic()
    opened = kafka(server.address, topic)
    server.put(topic, [b"old %d" % n for n in range(20)])
    reading = Reading(opened)
    until(lambda: len(reading.values()) == 20, reading)
    old = reading.owned[0]
    reading.reader.commit(0, old.epoch, 20, Counts(stored=20))
    server.remake_topic(topic)
    new = [b"new %d" % n for n in range(count)]
    server.put(topic, new)
    until(lambda: len(reading.begins) == 2, reading)
    log_id = reading.owned[0].progress.log_id
    assert log_id != old.progress.log_id
    assert (reading.owned[0].progress.committed, reading.owned[0].progress.counts) == (0, Counts())
    until(lambda: len(reading.values(log_id)) == count, reading)
    assert reading.values(log_id) == new
    assert len(reading.values(old.progress.log_id)) == 20  # R3: no new record under an old position
    reading.reader.close()


def test_an_offset_range_that_comes_back_with_other_content_is_read(server: KafkaServer) -> None:
    topic = server.make_topic()
    opened = kafka(server.address, topic)
    server.put(topic, [b"old %d" % n for n in range(20)])
    reading = Reading(opened)
    until(lambda: len(reading.values()) == 20, reading)
    reading.reader.commit(0, reading.owned[0].epoch, 20, Counts(stored=20))
    server.kill9()
    for file in server.data(topic).iterdir():
        if file.name != "partition.metadata":
            file.unlink()
    server.start()
    new = [b"new %d" % n for n in range(50)]
    server.put(topic, new)
    until(lambda: len(reading.begins) == 2, reading)
    progress = reading.owned[0].progress
    assert progress.log_id == reading.begins[0].progress.log_id + "~1"
    until(lambda: len(reading.values(progress.log_id)) == 50, reading)
    assert reading.values(progress.log_id) == new
    reading.reader.close()
    again = Reading(opened)
    until(lambda: bool(again.owned), again)
    assert again.owned[0].progress == progress
    again.reader.close()


def test_what_a_paused_partition_holds_does_not_grow(server: KafkaServer) -> None:
    topic = server.make_topic(partitions=2)
    for partition in range(2):
        server.put(topic, [b"first"], partition)
    reading = Reading(kafka(server.address, topic))
    until(lambda: len(reading.values()) == 2, reading)
    reading.reader.pause(1)
    for partition in range(2):
        server.put(topic, [b"x" * 1000] * 3000, partition)
    until(lambda: len(reading.values()) == 3002, reading)
    for _ in range(20):
        reading.turn()
    assert reading.reader.buffered_bytes == 0
    end = time.monotonic() + 30
    while reading.reader.ends()[1] < 3001:  # how far it lags is known all the same
        assert time.monotonic() < end
        reading.turn()
    reading.reader.resume(1)
    until(lambda: len(reading.values()) == 6002, reading)
    assert reading.lost() == 0
    reading.reader.close()


def test_messages_of_others_come_through_as_they_are(server: KafkaServer) -> None:
    topic = server.make_topic()
    foreign = [b"hello", b"", b"\xff\x00", b'{"v":1}', b"a\nb", b"x" * 900_000]
    server.put(topic, foreign)
    reading = Reading(kafka(server.address, topic))
    until(lambda: len(reading.values()) == len(foreign), reading)
    assert reading.values() == foreign
    assert reading.lost() == 0
    reading.reader.close()


def test_records_that_may_be_repeats_are_named(server: KafkaServer) -> None:
    topic = server.make_topic()
    opened = kafka(server.address, topic)
    writer = opened.writer()
    writer.send([Record("acme", b"a"), Record("acme", b"b", maybe_duplicate=True), Record("acme", b"c")])
    reading = Reading(opened)
    until(lambda: len(reading.values()) == 3, reading)
    assert frozenset[int]().union(*(piece.resent for piece in reading.slices)) == {1}
    headers = [message.headers() for message in server.records(topic, 1, 3)]
    assert headers == [None, [(MAYBE_DUPLICATE, b"1")], None]
    reading.reader.close()
    writer.close()


def test_offsets_that_expired_before_they_were_read_are_lost(server: KafkaServer) -> None:
    topic = server.make_topic()
    opened = kafka(server.address, topic)
    server.put(topic, [b"%d" % n for n in range(30)])
    server.expire(topic, 10)
    reading = Reading(opened)
    until(lambda: len(reading.values()) == 20, reading)
    begin = reading.owned[0]
    assert (begin.progress.start, begin.progress.committed, reading.lost()) == (10, 10, 0)  # a group without commits
    reading.reader.commit(0, begin.epoch, 20, Counts(stored=10))
    # While it reads: the driver has nothing at the position any more.
    reading.reader.pause(0)
    server.put(topic, [b"%d" % n for n in range(30, 60)])
    server.expire(topic, 45)
    reading.reader.resume(0)
    until(lambda: len(reading.begins) == 2, reading)
    assert reading.owned[0].progress.committed == 20
    until(lambda: reading.at() == 60, reading)
    again = [piece for piece in reading.slices if piece.epoch == reading.owned[0].epoch]
    assert (again[0].first, sum(piece.lost for piece in again)) == (20, 25)
    assert [value for piece in again for value in piece.values] == [b"%d" % n for n in range(45, 60)]
    reading.reader.close()


def test_markers_and_aborted_messages_of_transactions_are_counted_up_to_the_end(server: KafkaServer) -> None:
    topic = server.make_topic()
    producer = Producer({"bootstrap.servers": server.address, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(30)
    for values, commit in (([b"a", b"b"], True), ([b"c"], False), ([b"d"], True)):
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)
    reading = Reading(kafka(server.address, topic))
    until(lambda: bool(reading.owned) and reading.at() == 7, reading)
    assert reading.values() == [b"a", b"b", b"d"]
    assert reading.lost() == 4  # the aborted one and three markers
    assert reading.reader.ends() == {0: 7}
    reading.reader.close()
