"""One producer on librdkafka's own mock cluster, and on a port where nobody listens."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.producer import MAYBE_DUPLICATE, Failure, KafkaProducer, Record, for_retry
from parsec.core.clock import SystemClock
from tests.support.kafka_partitions import partition_of

PARTITIONS = 4
"""What the mock cluster gives every topic."""
SOON_S = 30.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    broker = next(iter(owner.list_topics(timeout=10).brokers.values()))
    yield f"{broker.host}:{broker.port}"
    owner.close()


def records(count: int, *, maybe_duplicate: bool = False) -> list[Record]:
    return [Record(f"tenant-{n % 7}", b"value %d" % n, maybe_duplicate) for n in range(count)]


def written(address: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "look", "log_level": 0})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[Message] = []
    end = time.monotonic() + SOON_S
    while len(found) < count and time.monotonic() < end:
        found += consumer.consume(count, 0.2)
    found += consumer.consume(count, 0.5)
    consumer.close()
    return found


def test_every_record_is_there_once_with_its_key_and_in_order(address: str) -> None:
    producer = KafkaProducer(KafkaOptions(brokers=address, topic="order"), SystemClock())
    sent = records(1200)
    assert producer.send(sent, time.monotonic() + SOON_S) == []
    found = written(address, "order", len(sent))
    producer.discard()
    assert sorted(str(message.value()) for message in found) == sorted(str(record.value) for record in sent)
    for number in range(PARTITIONS):
        there = [message.value() for message in found if message.partition() == number]
        assert there == [record.value for record in sent if partition_of(record.key, PARTITIONS) == number]
    assert all(message.headers() is None for message in found)


def test_only_records_in_doubt_carry_the_header(address: str) -> None:
    producer = KafkaProducer(KafkaOptions(brokers=address, topic="doubt"), SystemClock())
    sent = [*records(3), *records(2, maybe_duplicate=True)]
    assert producer.send(sent, time.monotonic() + SOON_S) == []
    found = written(address, "doubt", 5)
    producer.discard()
    marked = [message.value() for message in found if message.headers() == [(MAYBE_DUPLICATE, b"1")]]
    assert sorted(str(value) for value in marked) == [str(b"value 0"), str(b"value 1")]


def test_what_is_not_acknowledged_in_time_is_given_back_and_forgotten() -> None:
    producer = KafkaProducer(KafkaOptions(brokers="127.0.0.1:1"), SystemClock())
    sent = records(10)
    failures = producer.send(sent, time.monotonic() + 0.2)
    assert [failure.record for failure in failures] == sent
    assert [for_retry(failure) for failure in failures] == records(10, maybe_duplicate=True)
    assert producer.waiting == 0
    producer.discard()


def test_equal_records_fail_as_often_as_they_were_sent() -> None:
    producer = KafkaProducer(KafkaOptions(brokers="127.0.0.1:1"), SystemClock())
    sent = [Record("a", b"same")] * 3
    assert len(producer.send(sent, time.monotonic() + 0.2)) == 3
    producer.discard()


@pytest.mark.parametrize(
    ("code", "maybe_duplicate"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, False),
        (KafkaError._QUEUE_FULL, False),
        (KafkaError._PURGE_QUEUE, True),
        (KafkaError._PURGE_INFLIGHT, True),
        (KafkaError._MSG_TIMED_OUT, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, True),
    ],
)
def test_a_record_is_in_doubt_unless_it_was_surely_not_written(code: int, maybe_duplicate: bool) -> None:
    assert for_retry(Failure(Record("a", b"x"), KafkaError(code))).maybe_duplicate is maybe_duplicate
    assert for_retry(Failure(Record("a", b"x", maybe_duplicate=True), KafkaError(code))).maybe_duplicate


@pytest.mark.parametrize(
    ("key", "hashed"), [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)]
)
def test_the_reference_for_partitions_agrees_with_kafkas_own_tests(key: str, hashed: int) -> None:
    assert partition_of(key, 1 << 31) == hashed & 0x7FFFFFFF
