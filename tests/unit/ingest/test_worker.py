"""The worker: retries, request-by-request fallback, and one acknowledgement per publish."""

from collections.abc import Sequence

import pytest

from parsec.core.errors import Fatal, Retryable
from parsec.ingest.channel import BatchLimits, Channel, Fate, Submission
from parsec.ingest.worker import CROWD_REQUESTS, GROUP_BYTES, PUBLISH_SLICE_BYTES, Worker, WorkerOptions
from parsec.ports.broker import Group, PartialPublish
from parsec.telemetry import Telemetry
from tests.support.events import envelopes
from tests.support.manual_clock import ManualClock


class ListWriter:
    """A LogWriter that keeps groups in a list and fails as told."""

    def __init__(self, failures: Sequence[Exception | None] = (), poison: int = -1) -> None:
        self.failures = list(failures)
        self.poison = poison
        self.published: list[int] = []
        self.calls: list[int] = []

    def publish(self, groups: Sequence[Group]) -> None:
        self.calls.append(len(groups))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        sizes = [len(group.events) for group in groups]
        if self.poison in sizes:
            raise Retryable("this group never goes through")
        for group in groups:
            assert group.lines.count(b"\n") == len(group.events)
        self.published += sizes

    def refuses(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class AckChannel(Channel):
    """Keeps what a worker acknowledges: the sizes of the submissions and their fate, by call."""

    def __init__(self, max_events: int, max_bytes: int, large_bytes: int) -> None:
        super().__init__(max_events, max_bytes, large_bytes)
        self.acknowledged: list[tuple[list[int], Fate]] = []

    def acknowledge(self, batch: Sequence[Submission], fate: Fate) -> None:
        self.acknowledged.append(([len(submission.events) for submission in batch], fate))
        super().acknowledge(batch, fate)


class Bench:
    """A worker on a list, and the acknowledgements of its channel."""

    def __init__(self, writer: ListWriter, attempts: int = 3) -> None:
        self.channel = AckChannel(1000, 64 << 20, large_bytes=PUBLISH_SLICE_BYTES)
        self.acks: list[str] = []
        self.telemetry = Telemetry()
        self.failed = False
        options = WorkerOptions(BatchLimits(100, 64 << 20), attempts)
        self.worker = Worker(self.channel, writer, options, self.telemetry, ManualClock(), self._fail)
        self.worker.begin_shutdown()  # no waiting between attempts

    def _fail(self) -> None:
        self.failed = True
        self.channel.close()

    def offer_large(self, name: str) -> None:
        """Its name goes into `acks` when it is acknowledged."""
        assert self.channel.offer(Submission(envelopes(8), LARGE, lambda _: self.acks.append(name)))

    def offer(self, *sizes: int) -> None:
        for size in sizes:
            assert self.channel.offer(Submission(envelopes(size), GROUP_BYTES))


def test_one_publish_and_one_acknowledgement_for_all_that_waits() -> None:
    writer = ListWriter()
    bench = Bench(writer)
    bench.offer(1, 2, 3)
    assert bench.worker.step(0)
    assert writer.calls == [3]
    assert bench.channel.acknowledged == [([1, 2, 3], "durable")]
    assert bench.telemetry.value("parsec_publish_events_total") == 6


def test_after_a_crowd_the_next_publish_waits_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ListWriter()
    bench = Bench(writer)
    monkeypatch.setattr("parsec.ingest.worker.time.sleep", lambda _: bench.offer(3))
    bench.offer(*[1] * (CROWD_REQUESTS - 1))
    assert bench.worker.step(0)
    bench.offer(*[1] * CROWD_REQUESTS)
    assert bench.worker.step(0)
    assert [len(sizes) for sizes, _ in bench.channel.acknowledged] == [CROWD_REQUESTS - 1, CROWD_REQUESTS]
    bench.offer(2)
    assert bench.worker.step(0)
    bench.offer(2)
    assert bench.worker.step(0)
    assert bench.channel.acknowledged[2:] == [([2, 3], "durable"), ([2], "durable")]


def test_small_requests_share_a_group_up_to_a_size() -> None:
    writer = ListWriter()
    bench = Bench(writer)
    for size, body_bytes in ((1, 100), (2, 100), (3, GROUP_BYTES), (1, GROUP_BYTES - 100), (1, 100), (1, 1)):
        assert bench.channel.offer(Submission(envelopes(size), body_bytes))
    bench.worker.step(0)
    assert writer.published == [3, 3, 2, 1]
    assert bench.channel.acknowledged == [([1, 2, 3, 1, 1, 1], "durable")]


def test_a_failed_publish_is_tried_again() -> None:
    writer = ListWriter([Retryable("a"), Retryable("b")])
    bench = Bench(writer)
    bench.offer(1, 2)
    bench.worker.step(0)
    assert writer.calls == [2, 2, 2]
    assert bench.channel.acknowledged == [([1, 2], "durable")]


def test_a_batch_that_cannot_be_published_goes_request_by_request() -> None:
    writer = ListWriter(poison=2)
    bench = Bench(writer, attempts=2)
    bench.offer(1, 2, 3)
    bench.worker.step(0)
    assert writer.calls == [3, 3, 1, 1, 1]
    assert writer.published == [1, 3]
    assert [(sizes, fate == "durable") for sizes, fate in bench.channel.acknowledged] == [
        ([1], True),
        ([2], False),
        ([3], True),
    ]
    assert bench.telemetry.value("parsec_publish_events_failed_total") == 2
    assert bench.telemetry.value("parsec_publish_events_total") == 4


def test_fatal_answers_those_in_hand_and_ends_the_worker() -> None:
    bench = Bench(ListWriter([Fatal("the log is gone")]))
    bench.offer(1, 2)
    with pytest.raises(Fatal):
        bench.worker.step(0)
    assert [(sizes, str(error)) for sizes, error in bench.channel.acknowledged] == [([1, 2], "the log is gone")]


def test_after_fatal_nobody_is_left_waiting() -> None:
    bench = Bench(ListWriter([Fatal("the log is gone")]))
    bench.offer(*[150] * 3)  # more than one batch
    with pytest.raises(Fatal):
        bench.worker.run()
    assert bench.failed
    assert [(sizes, str(error)) for sizes, error in bench.channel.acknowledged] == [([150], "the log is gone")] * 3
    assert bench.channel.in_flight_events == 0


def test_ends_when_the_channel_is_closed_and_empty() -> None:
    writer = ListWriter()
    bench = Bench(writer)
    bench.offer(1)
    bench.channel.close()
    bench.worker.run()
    assert writer.published == [1]


class ElsewhereWriter(ListWriter):
    """Keeps what it is told in a spool, and loses what it is told."""

    def publish(self, groups: Sequence[Group]) -> PartialPublish:  # type: ignore[override]
        self.calls.append(len(groups))
        return PartialPublish(frozenset({1}), frozenset({2}), "Kafka is away", 5, 100, 3)


def test_each_request_is_told_where_its_own_events_are() -> None:
    writer = ElsewhereWriter()
    bench = Bench(writer)
    bench.offer(1, 2, 3, 4)
    bench.worker.step(0)
    assert writer.calls == [4]  # what a writer has retried is not tried again
    told = {sizes[0]: fate for sizes, fate in bench.channel.acknowledged if len(sizes) == 1}
    assert ([1, 4], "durable") in bench.channel.acknowledged
    assert told[2] == "spooled"
    assert str(told[3]) == "Kafka is away"
    assert bench.telemetry.value("parsec_publish_events_total") == 5
    assert bench.telemetry.value("parsec_publish_events_failed_total") == 3
    assert bench.channel.in_flight_events == 0


LARGE = 4 * PUBLISH_SLICE_BYTES


def test_small_requests_go_beside_the_slices_of_a_large_one_not_behind_it() -> None:
    writer = ListWriter()
    bench = Bench(writer)
    bench.offer_large("large")
    bench.offer(1)
    bench.worker.step(0)
    bench.offer(3)
    bench.worker.step(0)
    assert writer.published == [1, 2, 3, 2]
    bench.worker.step(0)
    assert not bench.acks
    bench.worker.step(0)
    assert writer.published == [1, 2, 3, 2, 2, 2]
    assert bench.acks == ["large"]  # acknowledged once, when all of it is in the log
    assert bench.channel.in_flight_events == 0


def test_the_slices_of_a_large_request_wait_for_nobody_after_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(ListWriter())
    waits: list[float] = []
    monkeypatch.setattr("parsec.ingest.worker.time.sleep", waits.append)
    bench.offer(*[1] * CROWD_REQUESTS)
    bench.offer_large("large")
    while not bench.acks:
        assert bench.worker.step(0)
    assert [len(sizes) for sizes, _ in bench.channel.acknowledged] == [CROWD_REQUESTS + 1, 1, 1, 1]
    assert waits == []


def test_one_large_request_is_in_hand_at_a_time_so_that_the_channel_bounds_the_others() -> None:
    bench = Bench(ListWriter())
    for name in ("first", "second"):
        bench.offer_large(name)
    for _ in range(4):
        bench.worker.step(0)
        assert bench.channel.buffered_events == 8
    for _ in range(4):
        bench.worker.step(0)
    assert bench.acks == ["first", "second"]


@pytest.mark.parametrize("failed", [0, 1, 3])
def test_a_slice_that_fails_fails_its_whole_request_and_no_other(failed: int) -> None:
    writer = ListWriter([None] * failed + [Retryable("full")] * 4)
    bench = Bench(writer, attempts=3)
    bench.offer_large("large")
    for _ in range(failed + 1):
        bench.worker.step(0)
    assert not bench.channel.buffered_events
    assert bench.acks == ["large"]
    assert isinstance(bench.channel.acknowledged[-1][1], Retryable)
    assert bench.channel.in_flight_events == 0
    writer.failures.clear()
    bench.offer(5)
    bench.worker.step(0)
    assert bench.channel.acknowledged[-1] == ([5], "durable")


def test_a_closed_channel_is_drained_to_the_last_slice() -> None:
    writer = ListWriter()
    bench = Bench(writer)
    for name in ("first", "second"):
        bench.offer_large(name)
    bench.channel.close()
    bench.worker.run()
    assert sum(writer.published) == 16
    assert bench.acks == ["first", "second"]


def test_fatal_in_a_slice_leaves_nobody_waiting() -> None:
    bench = Bench(ListWriter([None, Fatal("the log is gone")]))
    bench.offer_large("large")
    bench.offer(1)
    with pytest.raises(Fatal):
        bench.worker.run()
    assert bench.acks == ["large"]
    assert bench.channel.in_flight_events == 0
