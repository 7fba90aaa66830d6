"""To Kafka, or to the spool (invariants of parsec.adapters.spool.writer)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.monitor import RETRY_S
from parsec.adapters.spool.spool import DiskSpool, NoSpool
from parsec.adapters.spool.writer import SpoolingWriter
from parsec.core.envelope import encode_lines
from parsec.ports.broker import Group
from tests.support.events import envelope
from tests.support.fake_kafka import FakeCluster, Silence, kafka_error
from tests.support.logs import group
from tests.support.spools import drained, opened


class Bench:
    """A writer with its spool on a cluster that does as it is told."""

    def __init__(self, cluster: FakeCluster, spool: DiskSpool) -> None:
        self.cluster = cluster
        self.spool = spool
        self.kafka: KafkaCluster = cluster.opened(deadline_s=2.0)
        self.writer = SpoolingWriter(self.kafka.writer(), spool, self.kafka.breaker)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    spool = opened(tmp_path)
    yield Bench(FakeCluster(monkeypatch), spool)
    spool.close()


def test_while_kafka_answers_nothing_is_spooled(bench: Bench) -> None:
    assert bench.writer.publish([group(0, 3), group(3, 2)]) is None
    assert bench.cluster.values() == group(0, 5).lines.splitlines()
    assert bench.spool.waiting == 0


def test_only_what_was_not_acknowledged_is_spooled(bench: Bench) -> None:  # invariant 1
    lost = group(4, 1).lines.strip()
    bench.cluster.fates[lost] = [Silence.NOT_THERE]
    told = bench.writer.publish([group(0, 3), group(3, 3)])
    assert told is not None
    assert (told.spooled, told.failed) == (frozenset({1}), frozenset())
    assert (told.missing_events, told.missing_bytes, told.failed_events) == (1, len(lost) + 1, 0)
    assert drained(bench.spool) == [lost]
    assert sorted([*bench.cluster.values(), lost]) == sorted(group(0, 6).lines.splitlines())


def test_of_equal_events_as_many_are_spooled_as_were_not_acknowledged(bench: Bench) -> None:
    event = envelope(1)
    twice = Group([event, event], encode_lines([event, event]))
    bench.cluster.fates[twice.lines.splitlines()[0]] = [Silence.NOT_THERE]
    told = bench.writer.publish([twice])
    assert told is not None
    assert told.missing_events == 1
    assert len(drained(bench.spool)) == len(bench.cluster.values()) == 1


def test_after_a_failure_nothing_waits_for_kafka_until_the_spool_is_on_its_way(bench: Bench) -> None:  # invariant 2
    bench.cluster.away = True
    began = bench.cluster.clock.monotonic()
    bench.writer.publish([group(0, 1)])
    waited = bench.cluster.clock.monotonic() - began
    assert 2.0 <= waited < 4.0
    for number in range(1, 9):
        bench.cluster.clock.advance(RETRY_S)
        began = bench.cluster.clock.monotonic()
        told = bench.writer.publish([group(number, 1)])
        assert told is not None
        assert told.spooled == {0}
        assert bench.cluster.clock.monotonic() == began  # its drain tries, and nobody else
    assert bench.spool.waiting == 9
    bench.cluster.away = False
    bench.kafka.breaker.publish_succeeded()  # the drain got something through
    assert bench.writer.publish([group(9, 1)]) is None
    assert drained(bench.spool) == group(0, 9).lines.splitlines()


def test_with_an_empty_spool_a_publish_tries_again_by_itself(bench: Bench) -> None:
    bench.kafka.breaker.publish_failed("no answer")
    told = bench.writer.publish([group(0, 1)])
    assert told is not None
    assert bench.cluster.attempts == []
    drained(bench.spool)
    bench.cluster.clock.advance(RETRY_S)
    assert bench.writer.publish([group(1, 1)]) is None


def test_a_group_with_an_event_too_large_fails_whole(bench: Bench) -> None:  # invariant 3
    large = group(1, 1).lines.strip()
    bench.cluster.fates[large] = [kafka_error(KafkaError.MSG_SIZE_TOO_LARGE)] * 9
    told = bench.writer.publish([group(0, 3), group(3, 1)])
    assert told is not None
    assert (told.spooled, told.failed, told.failed_events) == (frozenset(), frozenset({0}), 1)
    assert bench.spool.waiting == 0
    assert bench.writer.refuses() is None


def test_a_full_spool_refuses_at_the_door_and_fails_what_is_inside(bench: Bench) -> None:
    bench.cluster.away = True
    told = None
    for number in range(1000):
        told = bench.writer.publish([group(number, 1, "x" * 1000)])
        assert told is not None
        if told.failed:
            break
    assert told is not None
    assert (told.failed, told.failed_events, told.spooled) == (frozenset({0}), 1, frozenset())
    assert "PARSEC_LOG_MAX_BYTES" in told.why
    refusal = str(bench.writer.refuses())
    assert "PARSEC_LOG_MAX_BYTES" in refusal
    assert "did not answer in time" in refusal


def test_without_a_spool_it_refuses_while_kafka_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(monkeypatch)
    kafka = cluster.opened()
    writer = SpoolingWriter(kafka.writer(), NoSpool(), kafka.breaker)
    cluster.away = True
    told = writer.publish([group(0, 2)])
    assert told is not None
    assert (told.failed, told.failed_events) == (frozenset({0}), 2)
    assert "PARSEC_SPOOL is off" in str(writer.refuses())
    cluster.away = False
    cluster.clock.advance(RETRY_S)
    assert writer.publish([group(0, 2)]) is None
    assert writer.refuses() is None
