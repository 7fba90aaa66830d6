"""The spool into Kafka: marked, in order, no faster than told, and never gone before Kafka has it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.monitor import RETRY_S
from parsec.adapters.spool.drain import ADOPT_EVERY_S, IDLE_S, Drain
from parsec.adapters.spool.spool import DiskSpool
from parsec.telemetry import Telemetry
from tests.support.fake_kafka import FakeCluster, Silence, kafka_error
from tests.support.logs import group
from tests.support.spools import opened

RATE = 100.0


class Bench:
    """A drain, stepped by hand."""

    def __init__(self, cluster: FakeCluster, spool: DiskSpool) -> None:
        self.cluster = cluster
        self.spool = spool
        self.telemetry = Telemetry()
        self.kafka: KafkaCluster = cluster.opened(deadline_s=2.0)
        self.drain = Drain(spool, self.kafka.writer(), self.kafka.breaker, self.telemetry, cluster.clock, RATE)

    def count(self, name: str) -> int:
        return int(self.telemetry.value(f"parsec_{name}"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    spool = opened(tmp_path / "spool")
    yield Bench(FakeCluster(monkeypatch), spool)
    spool.close()


def test_it_keeps_to_its_rate(bench: Bench) -> None:
    bench.spool.append(group(0, 45))
    waits = [bench.drain.step() for _ in range(5)]
    assert waits == pytest.approx([0.1] * 4 + [0.05])  # ten events, a tenth of what a second may have, take 0.1 s
    assert bench.drain.step() == IDLE_S
    assert bench.cluster.values() == group(0, 45).lines.splitlines()
    assert all(message.marked for message in bench.cluster.written)
    assert bench.spool.waiting == 0
    assert (bench.count("publish_events_total"), bench.count("spool_events_drained_total")) == (45, 45)
    assert bench.count("publish_bytes_total") == len(group(0, 45).lines)
    assert bench.count("spool_waiting_events") == 0


def test_while_kafka_is_away_it_tries_now_and_then_and_loses_nothing(bench: Bench) -> None:
    bench.cluster.away = True
    bench.spool.append(group(0, 5))
    bench.drain.step()
    attempts = len(bench.cluster.attempts)
    for _ in range(5):
        assert bench.drain.step() == IDLE_S
    assert len(bench.cluster.attempts) == attempts  # the breaker says when
    bench.cluster.away = False
    bench.cluster.clock.advance(RETRY_S)
    bench.drain.step()
    assert bench.cluster.values() == group(0, 5).lines.splitlines()
    assert bench.spool.waiting == 0
    assert bench.kafka.breaker.last_failure is None  # which tells the writers that Kafka is back
    assert bench.count("publish_events_total") == 5


def test_of_a_piece_only_what_is_missing_is_sent_again(bench: Bench) -> None:
    sent = group(0, 5).lines.splitlines()
    bench.cluster.fates[sent[2]] = [Silence.NOT_THERE]
    bench.spool.append(group(0, 5))
    bench.drain.step()
    assert bench.spool.waiting == 5  # not before Kafka has all of it
    assert bench.count("publish_events_total") == 4
    bench.cluster.clock.advance(RETRY_S)
    bench.drain.step()
    assert bench.spool.waiting == 0
    assert sorted(bench.cluster.values()) == sorted(sent)
    assert bench.count("publish_events_total") == 5
    assert bench.count("publish_bytes_total") == len(group(0, 5).lines)


def test_what_kafka_never_takes_is_set_aside_and_counted(bench: Bench, tmp_path: Path) -> None:
    sent = group(0, 3).lines.splitlines()
    bench.cluster.fates[sent[1]] = [kafka_error(KafkaError.MSG_SIZE_TOO_LARGE)] * 9
    bench.spool.append(group(0, 3))
    bench.drain.step()
    assert bench.spool.waiting == 0
    assert (tmp_path / "spool" / "0" / "refused.ndjson").read_bytes().splitlines() == [sent[1]]
    assert sorted(bench.cluster.values()) == sorted([sent[0], sent[2]])
    assert (bench.count("spool_events_refused_total"), bench.count("publish_events_total")) == (1, 2)


def test_it_adopts_what_others_left_now_and_then(bench: Bench, tmp_path: Path) -> None:
    bench.drain.step()
    other = opened(tmp_path / "spool")
    other.append(group(0, 2))
    other.close()
    bench.drain.step()
    assert bench.cluster.written == []
    bench.cluster.clock.advance(ADOPT_EVERY_S)
    bench.drain.step()
    assert bench.cluster.values() == group(0, 2).lines.splitlines()


def test_a_stop_leaves_the_rest_where_it_is(bench: Bench) -> None:
    bench.spool.append(group(0, 25))
    stop = threading.Event()
    stop.set()
    bench.drain.run(stop)
    assert len(bench.cluster.written) == 10  # the step in hand
    assert bench.spool.waiting == 15
    assert bench.cluster.calls.count("closed a producer") == 1
