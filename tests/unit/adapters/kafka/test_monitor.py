"""The circuit breaker, and how far the group has come, read every second; also by a client that went dead."""

import threading

import pytest

from parsec.adapters.kafka.monitor import PROBE_EVERY_S, RETRY_S, CircuitBreaker, KafkaMonitor
from parsec.adapters.kafka.topic import RECONNECT_AFTER_S
from parsec.core.errors import Retryable
from parsec.ports.broker import KafkaHealth
from tests.support.fake_kafka import FakeCluster
from tests.support.manual_clock import ManualClock


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    made = FakeCluster(monkeypatch)
    made.ends = {0: 10, 1: 20}
    made.committed = {0: 7}
    return made


def test_it_tells_ends_and_what_the_group_has_committed(cluster: FakeCluster) -> None:
    monitor = KafkaMonitor(cluster.opened(), cluster.clock)
    assert monitor.group_offsets is None
    monitor.refresh()
    assert monitor.group_offsets is not None
    assert (monitor.group_offsets.ends, monitor.group_offsets.committed) == ({0: 10, 1: 20}, {0: 7, 1: 0})
    assert monitor.group_offsets.at_ns == cluster.clock.time_ns()


def test_of_a_partition_without_a_commit_it_is_known_that_the_group_stands_at_its_begin(cluster: FakeCluster) -> None:
    cluster.committed, cluster.begins = {}, {1: 15}
    monitor = KafkaMonitor(cluster.opened(), cluster.clock)
    monitor.refresh()
    assert monitor.group_offsets is not None
    assert {n: (each.start, each.committed) for n, each in monitor.group_offsets.progress.items()} == {
        0: (0, 0),
        1: (15, 15),
    }


def test_what_the_group_has_committed_is_known_of_all_partitions_or_of_none(cluster: FakeCluster) -> None:
    monitor = KafkaMonitor(cluster.opened(), cluster.clock)
    cluster.unstable = {1}
    monitor.refresh()
    assert monitor.group_offsets is None
    cluster.unstable = set()
    monitor.refresh()
    assert monitor.group_offsets is not None
    before = monitor.group_offsets
    cluster.unstable, cluster.committed = {0}, {0: 9, 1: 2}
    monitor.refresh()
    assert monitor.group_offsets == before


def test_it_is_asked_at_once_and_not_only_after_a_second(cluster: FakeCluster) -> None:
    monitor, stop = KafkaMonitor(cluster.opened(), cluster.clock), threading.Event()
    stop.set()
    monitor.run(stop)
    assert monitor.group_offsets is not None


def test_while_kafka_is_away_the_last_answer_stays_with_its_time(cluster: FakeCluster) -> None:
    kafka = cluster.opened()
    monitor = KafkaMonitor(kafka, cluster.clock)
    monitor.refresh()
    before = monitor.group_offsets
    cluster.away = True
    cluster.clock.advance(PROBE_EVERY_S)
    monitor.refresh()
    assert monitor.group_offsets == before
    assert not kafka.breaker.health().connected
    cluster.away, cluster.ends = False, {0: 11, 1: 20}
    monitor.refresh()  # at once: whatever is wrong is looked at each time
    assert kafka.breaker.health().connected
    assert monitor.group_offsets is not None
    assert monitor.group_offsets.ends == {0: 11, 1: 20}


def test_while_all_is_well_the_topic_is_looked_at_only_now_and_then(cluster: FakeCluster) -> None:
    monitor = KafkaMonitor(cluster.opened(), cluster.clock)
    for _ in range(3):
        monitor.refresh()
    assert cluster.calls.count("described the topic") == 1
    cluster.clock.advance(PROBE_EVERY_S)
    monitor.refresh()
    assert cluster.calls.count("described the topic") == 2


def test_what_asks_is_connected_anew_when_it_gets_no_answer_for_long(cluster: FakeCluster) -> None:
    kafka = cluster.opened()
    kafka.ensure_topic()
    cluster.away = True
    began = cluster.clock.monotonic()
    while cluster.clock.monotonic() < began + RECONNECT_AFTER_S:
        assert "closed the offsets consumer" not in cluster.calls
        kafka.probe()
    kafka.probe()
    assert cluster.calls.count("closed the offsets consumer") >= 1
    with pytest.raises(Retryable):
        kafka.topic.ends(1.0)
    cluster.away = False
    assert kafka.topic.ends(1.0) == {0: 10, 1: 20}


def test_a_topic_that_the_driver_believes_to_have_no_leader_is_looked_at_anew(cluster: FakeCluster) -> None:
    kafka = cluster.opened()
    monitor = KafkaMonitor(kafka, cluster.clock)
    kafka.ensure_topic()
    cluster.forgotten = True
    monitor.refresh()
    assert monitor.group_offsets is None
    monitor.refresh()
    assert monitor.group_offsets is not None


def test_nothing_is_refused_before_anything_went_wrong() -> None:
    breaker = CircuitBreaker(ManualClock())
    assert breaker.open_reason() is None
    assert breaker.health() == KafkaHealth(connected=True, why=None, last_ack_age_s=None)


def test_after_a_failed_publish_nothing_is_tried_for_a_moment() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock)
    breaker.publish_succeeded()
    clock.advance(5)
    breaker.publish_failed("no answer")
    assert breaker.open_reason() == "no answer"
    assert breaker.health() == KafkaHealth(True, "no answer", last_ack_age_s=5, last_failure_age_s=0)
    clock.advance(RETRY_S)
    assert breaker.open_reason() is None
    assert breaker.health().why == "no answer"  # until something is acknowledged
    breaker.publish_succeeded()
    assert breaker.health() == KafkaHealth(connected=True, why=None, last_ack_age_s=0)


def test_a_probe_that_is_answered_lets_the_next_publish_try() -> None:
    breaker = CircuitBreaker(ManualClock())
    breaker.publish_failed("no answer")
    breaker.probe_succeeded()
    assert breaker.open_reason() is None


def test_while_probes_are_not_answered_all_is_refused() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock)
    breaker.probe_failed("unreachable")
    clock.advance(1000)
    assert breaker.open_reason() == "unreachable"
    assert not breaker.health().connected
    breaker.probe_succeeded()
    assert breaker.open_reason() is None
    assert breaker.health().connected
