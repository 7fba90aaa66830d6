"""One worker's way to Kafka, with a driver that fails as told (invariants of parsec.adapters.kafka.writer)."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from parsec.adapters.kafka.writer import NotAcknowledged, records_of
from parsec.core.errors import Fatal
from tests.support.fake_kafka import FakeCluster, Silence, kafka_error
from tests.support.logs import group

REFUSED = kafka_error(KafkaError.NOT_ENOUGH_REPLICAS)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    return FakeCluster(monkeypatch)


class Waits:
    """An event that nobody sets, and how long it was waited for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False

    def is_set(self) -> bool:
        return False


class Always:
    """Randomness that is not."""

    def __init__(self, byte: bytes) -> None:
        self._byte = byte

    def bytes(self, n: int) -> bytes:
        return self._byte * n


def test_what_fails_of_a_batch_is_sent_again_alone_and_nothing_else_is(cluster: FakeCluster) -> None:
    sent = group(0, 5).lines.splitlines()
    cluster.fates[sent[2]] = [REFUSED, REFUSED]
    cluster.opened().writer().publish([group(0, 5)])
    assert cluster.attempts == [*sent, sent[2], sent[2]]
    assert sorted(cluster.values()) == sorted(sent)
    assert [message.value for message in cluster.written if message.marked] == [sent[2]]  # W3


def test_a_batch_that_is_refused_as_a_whole_goes_event_by_event(cluster: FakeCluster) -> None:
    cluster.largest_batch = 1
    cluster.opened().writer().publish([group(0, 5)])
    assert cluster.values() == group(0, 5).lines.splitlines()
    assert not any(message.marked for message in cluster.written)


def test_what_was_surely_not_written_carries_no_mark(cluster: FakeCluster) -> None:
    sent = group(0, 1).lines.splitlines()
    cluster.fates[sent[0]] = [kafka_error(KafkaError._QUEUE_FULL)]
    cluster.opened().writer().publish([group(0, 1)])
    assert [(message.value, message.marked) for message in cluster.written] == [(sent[0], False)]


def test_an_answer_that_was_lost_ends_in_doubt_at_the_deadline(cluster: FakeCluster) -> None:
    sent = group(0, 3).lines.splitlines()
    cluster.fates[sent[1]] = [Silence.WRITTEN]
    writer = cluster.opened(deadline_s=2.0).writer()
    with pytest.raises(NotAcknowledged) as caught:
        writer.publish([group(0, 3)])
    assert cluster.clock.monotonic() == 2.0  # W1
    assert [(record.value, record.maybe_duplicate) for record in caught.value.records] == [(sent[1], True)]
    assert sorted(cluster.values()) == sorted(sent)


def test_after_so_many_attempts_it_gives_up(cluster: FakeCluster) -> None:
    sent = group(0, 2).lines.splitlines()
    cluster.fates[sent[0]] = [REFUSED] * 4
    writer = cluster.opened(attempts=4).writer()
    with pytest.raises(NotAcknowledged, match="too few replicas") as caught:
        writer.publish([group(0, 2)])
    assert cluster.attempts == [*sent, *[sent[0]] * 3]
    assert [record.value for record in caught.value.records] == [sent[0]]
    assert "too few replicas" in str(writer.refuses())


@pytest.mark.parametrize(("random", "share"), [(b"\x00", 1.0), (b"\xff", 0.5)])
def test_the_waits_between_attempts_double_and_are_spread(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, random: bytes, share: float
) -> None:
    waits = Waits()
    monkeypatch.setattr("parsec.adapters.kafka.writer.threading", SimpleNamespace(Event=lambda: waits))
    cluster.fates[group(0, 1).lines.strip()] = [REFUSED] * 8
    with pytest.raises(NotAcknowledged):
        cluster.opened(Always(random), attempts=8, deadline_s=60).writer().publish([group(0, 1)])
    assert waits.seconds == pytest.approx([share * s for s in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0)])


def test_a_producer_beyond_repair_is_made_anew(cluster: FakeCluster) -> None:
    sent = group(0, 3).lines.splitlines()
    cluster.fates[sent[1]] = [kafka_error(KafkaError._FATAL, fatal=True)]
    cluster.opened().writer().publish([group(0, 3)])
    assert cluster.producers == 2
    assert cluster.calls.count("closed a producer") == 1
    assert sorted(cluster.values()) == sorted(sent)
    assert [message.value for message in cluster.written if message.marked] == [sent[1]]


def test_a_message_that_is_too_large_is_told_from_one_that_came_at_a_bad_time(cluster: FakeCluster) -> None:
    sent = group(0, 2).lines.splitlines()
    cluster.fates[sent[0]] = [kafka_error(KafkaError.MSG_SIZE_TOO_LARGE)] * 9
    writer = cluster.opened().writer()
    with pytest.raises(NotAcknowledged) as caught:
        writer.publish([group(0, 2)])
    assert [record.value for record in caught.value.refused] == [sent[0]]
    assert writer.refuses() is None  # Kafka is well


def test_a_missing_topic_is_made_by_the_first_publish(cluster: FakeCluster) -> None:
    cluster.has_topic = False
    cluster.opened().writer().publish([group(0, 1)])
    assert cluster.has_topic
    assert len(cluster.written) == 1


def test_a_topic_that_cannot_be_made_is_no_end_for_a_running_process(cluster: FakeCluster) -> None:
    opened = cluster.opened()
    writer = opened.writer()
    writer.publish([group(0, 1)])
    cluster.has_topic, cluster.no_topics = False, kafka_error(KafkaError.INVALID_REPLICATION_FACTOR)
    cluster.fates[group(1, 1).lines.strip()] = [kafka_error(KafkaError.UNKNOWN_TOPIC_OR_PART)] * 3
    with pytest.raises(NotAcknowledged):
        writer.publish([group(1, 1)])
    with pytest.raises(NotAcknowledged, match="PARSEC_TOPIC_REPLICATION"):
        writer.publish([group(1, 1)])
    opened.probe()
    state = opened.breaker.health()
    assert state.needs_help
    assert "PARSEC_TOPIC_REPLICATION" in str(state.why)
    with pytest.raises(Fatal, match="PARSEC_TOPIC_REPLICATION"):  # but of a start it is
        opened.ensure_topic()
    cluster.no_topics = None
    opened.probe()
    assert not opened.breaker.health().needs_help
    writer.publish([group(1, 1)])
    assert opened.breaker.health().why is None


def test_silence_is_bounded_and_leaves_nothing_behind(cluster: FakeCluster) -> None:
    writer = cluster.opened(deadline_s=2.0, attempts=5).writer()
    writer.publish([group(0, 1)])
    cluster.away = True
    with pytest.raises(NotAcknowledged) as caught:
        writer.publish([group(1, 3)])
    assert len(caught.value.records) == 3
    assert all(record.maybe_duplicate for record in caught.value.records)
    assert cluster.clock.monotonic() == 2.0
    cluster.away = False
    assert len(cluster.written) == 1  # W2
    writer.close()
    with pytest.raises(Fatal):
        writer.publish([group(0, 1)])


def test_records_are_keyed_by_tenant() -> None:
    records = records_of(group(0, 3))
    assert [record.key for record in records] == [event.tenant_id for event in group(0, 3).events]
    assert b"\n".join(record.value for record in records) + b"\n" == group(0, 3).lines
