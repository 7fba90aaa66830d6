"""Whether Kafka answers and how far the group has come, asked once a second; also by a client that went dead."""

import pytest

from parsec.adapters.broker.kafka_topic import RENEW_AFTER_S
from parsec.adapters.broker.kafka_watch import PROBE_EVERY_S, Watch
from parsec.core.errors import Retryable
from tests.support.fake_kafka import FakeCluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    made = FakeCluster(monkeypatch)
    made.ends = {0: 10, 1: 20}
    made.committed = {0: 7}
    return made


def test_it_tells_ends_and_what_the_group_has_committed(cluster: FakeCluster) -> None:
    watch = Watch(cluster.opened(), cluster.clock)
    assert watch.seen is None
    watch.look()
    assert watch.seen is not None
    assert (watch.seen.ends, watch.seen.committed) == ({0: 10, 1: 20}, {0: 7})
    assert watch.seen.at_ns == cluster.clock.time_ns()


def test_while_kafka_is_away_the_last_answer_stays_with_its_time(cluster: FakeCluster) -> None:
    kafka = cluster.opened()
    watch = Watch(kafka, cluster.clock)
    watch.look()
    before = watch.seen
    cluster.away = True
    cluster.clock.advance(PROBE_EVERY_S)
    watch.look()
    assert watch.seen == before
    assert not kafka.pulse.state().connected
    cluster.away, cluster.ends = False, {0: 11, 1: 20}
    watch.look()  # at once: whatever is wrong is looked at each time
    assert kafka.pulse.state().connected
    assert watch.seen is not None
    assert watch.seen.ends == {0: 11, 1: 20}


def test_while_all_is_well_the_topic_is_looked_at_only_now_and_then(cluster: FakeCluster) -> None:
    watch = Watch(cluster.opened(), cluster.clock)
    for _ in range(3):
        watch.look()
    assert cluster.calls.count("described the topic") == 1
    cluster.clock.advance(PROBE_EVERY_S)
    watch.look()
    assert cluster.calls.count("described the topic") == 2


def test_what_asks_is_connected_anew_when_it_gets_no_answer_for_long(cluster: FakeCluster) -> None:
    kafka = cluster.opened()
    kafka.check()
    cluster.away = True
    began = cluster.clock.monotonic()
    while cluster.clock.monotonic() < began + RENEW_AFTER_S:
        assert "closed the asker" not in cluster.calls
        kafka.probe()
    kafka.probe()
    assert cluster.calls.count("closed the asker") >= 1
    with pytest.raises(Retryable):
        kafka.topic.ends(1.0)
    cluster.away = False
    assert kafka.topic.ends(1.0) == {0: 10, 1: 20}


def test_a_topic_that_the_driver_believes_to_have_no_leader_is_looked_at_anew(cluster: FakeCluster) -> None:
    kafka = cluster.opened()
    watch = Watch(kafka, cluster.clock)
    kafka.check()
    cluster.forgotten = True
    watch.look()
    assert watch.seen is None
    watch.look()
    assert watch.seen is not None
