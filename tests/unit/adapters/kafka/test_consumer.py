"""Commits that are answered among the messages, late, or never; with a driver that does as it is told."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from parsec.adapters.kafka import consumer
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.consumer import COMMIT_WAIT_S, SHUTDOWN_COMMIT_WAIT_S, KafkaConsumer
from parsec.core.errors import Retryable
from parsec.ports.broker import Progress
from tests.support.manual_clock import ManualClock

Happening = Callable[["FakeDriver"], Sequence[Any]]


class FakeDriver:
    """`script`: what each call of `consume` does and brings; then nothing comes, and time goes by."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.script: list[Happening] = []
        self.commits: list[TopicPartition] = []
        self.unassigned: list[int] = []
        self.resumed: list[int] = []
        self.closed = 0
        self.answer: Callable[[KafkaError | None, list[TopicPartition]], None]
        self.revoke: Callable[[Any, list[TopicPartition]], None]

    def __call__(self, config: Mapping[str, Any]) -> "FakeDriver":
        self.answer = config["on_commit"]
        return self

    def subscribe(self, _: list[str], **callbacks: Any) -> None:
        self.revoke = callbacks["on_revoke"]

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert asynchronous
        self.commits += offsets

    def consume(self, _: int, timeout: float) -> Sequence[Any]:
        if self.script:
            return self.script.pop(0)(self)
        self.clock.advance(timeout)
        return []

    def poll(self, _: float) -> Any:
        return None

    def incremental_assign(self, _: list[TopicPartition]) -> None:
        """Fetches."""

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        self.unassigned += [place.partition for place in places]

    def resume(self, places: list[TopicPartition]) -> None:
        self.resumed += [place.partition for place in places]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    made = FakeDriver()
    monkeypatch.setattr(consumer, "Consumer", made)
    return made


def opened(driver: FakeDriver, revoked: list[int] | None = None) -> KafkaConsumer:
    gone = [] if revoked is None else revoked
    consumer = KafkaConsumer(KafkaOptions(brokers="nowhere:1", topic="t"), driver.clock, gone.extend, gone.extend)
    for partition in (0, 1):
        consumer.start_fetching(partition, 0, None)
    return consumer


def progress(committed: int = 5) -> Progress:
    return Progress("log", 0, 0, committed)


def message(partition: int, offset: int) -> Any:
    return SimpleNamespace(partition=lambda: partition, offset=lambda: offset)


def answered(driver: FakeDriver) -> Sequence[Any]:
    driver.answer(None, driver.commits[-1:])
    return []


def test_a_commit_returns_with_its_answer_and_keeps_what_came_before_it(driver: FakeDriver) -> None:
    consumer = opened(driver)
    first, second = message(0, 7), message(1, 3)
    driver.script = [lambda _: [first], lambda d: [second, *answered(d)]]
    consumer.commit(progress(), 4)
    assert [(place.offset, place.leader_epoch) for place in driver.commits] == [(5, 4)]
    assert consumer.commit_pending_s == 0
    assert list(consumer.messages(0, 10, 1000)) == [first, second]
    assert list(consumer.messages(0, 10, 1000)) == []


def test_a_pause_from_before_does_not_outlive_the_assignment(driver: FakeDriver) -> None:
    opened(driver)
    assert driver.resumed == [0, 1]


def test_a_refused_commit_says_why(driver: FakeDriver) -> None:
    consumer = opened(driver)

    def refused(driver: FakeDriver) -> Sequence[Any]:
        driver.answer(KafkaError(KafkaError.ILLEGAL_GENERATION), driver.commits[-1:])
        return []

    driver.script = [refused, answered]
    with pytest.raises(Retryable, match="ILLEGAL_GENERATION"):
        consumer.commit(progress(), None)
    consumer.commit(progress(), None)


def test_no_answer_is_waited_for_only_so_long_and_the_next_commit_is_not_sent(driver: FakeDriver) -> None:
    consumer = opened(driver)
    with pytest.raises(Retryable, match="in time"):
        consumer.commit(progress(), None)
    assert driver.clock.monotonic() == pytest.approx(COMMIT_WAIT_S, abs=0.1)
    with pytest.raises(Retryable, match="the commit before"):
        consumer.commit(progress(6), None)
    assert len(driver.commits) == 1
    driver.clock.advance(10)
    assert consumer.commit_pending_s > 10
    answered(driver)  # late
    assert consumer.commit_pending_s == 0
    driver.script = [answered]
    consumer.commit(progress(7), None)
    assert [place.offset for place in driver.commits] == [5, 7]


def test_a_process_that_ends_waits_less(driver: FakeDriver) -> None:
    consumer = opened(driver)
    consumer.begin_shutdown()
    with pytest.raises(Retryable):
        consumer.commit(progress(), None)
    assert driver.clock.monotonic() == pytest.approx(SHUTDOWN_COMMIT_WAIT_S, abs=0.1)


def test_what_was_kept_of_a_partition_that_is_taken_away_is_dropped(driver: FakeDriver) -> None:
    gone: list[int] = []
    consumer = opened(driver, gone)

    def revoked(driver: FakeDriver) -> Sequence[Any]:
        driver.revoke(driver, [TopicPartition("t", 0)])
        return [message(0, 8), message(1, 4)]  # of the same call, but before the news

    driver.script = [lambda _: [message(0, 7), message(1, 3)], revoked, answered]
    consumer.commit(progress(), None)
    assert gone == [0]
    assert driver.unassigned == [0]
    kept = [(each.partition(), each.offset()) for each in consumer.messages(0, 10, 1000)]
    assert kept == [(1, 3), (1, 4)]


def test_a_driver_that_is_left_behind_calls_back_no_more(driver: FakeDriver) -> None:
    gone: list[int] = []
    consumer = opened(driver, gone)
    consumer.abandon()
    driver.revoke(driver, [TopicPartition("t", 0)])
    assert gone == []
    assert driver.closed == 1
