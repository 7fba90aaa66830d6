"""The invariants of parsec.ingest.channel, by their numbers."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parsec.ingest.channel import BatchLimits, Channel, Submission
from tests.support.events import envelopes
from tests.support.manual_clock import ManualClock

LIMITS = BatchLimits(max_events=10, max_bytes=1000)


def submission(events: int = 1, size: int = 100) -> Submission:
    return Submission(envelopes(events), size)


def test_overshoots_by_one_request_then_refuses() -> None:  # invariant 1
    channel = Channel(max_events=10, max_bytes=10_000)
    assert channel.offer(submission(9))
    assert channel.offer(submission(50))
    assert not channel.offer(submission(1))
    assert channel.buffered_events == 59


def test_what_goes_beyond_has_bounds_of_its_own() -> None:  # invariants 1 and 2
    channel = Channel(max_events=10, max_bytes=10_000)

    def beyond(events: int, size: int = 100) -> Submission:
        return Submission(envelopes(events), size, beyond=True)

    assert channel.offer(submission(50))
    assert channel.offer(beyond(9))
    assert channel.offer(beyond(2))
    assert not channel.offer(beyond(1))
    assert (channel.buffered_events, channel.buffered_bytes) == (61, 300)
    assert len(channel.take(BatchLimits(51, 1000), 0) or []) == 2
    assert channel.offer(submission(10))
    assert not channel.offer(submission(1))
    assert channel.offer(beyond(1, 10_000))
    assert not channel.offer(beyond(1))
    while channel.take(LIMITS, 0):
        pass
    assert channel.has_room()
    assert channel.has_room(beyond=True)
    assert (channel.buffered_events, channel.buffered_bytes) == (0, 0)


def test_is_bounded_by_bytes() -> None:  # invariant 1
    channel = Channel(max_events=1000, max_bytes=250)
    assert [channel.offer(submission(1, 100)) for _ in range(4)] == [True, True, True, False]


def test_a_batch_is_whole_submissions_up_to_the_limit() -> None:  # invariant 4
    channel = Channel(max_events=1000, max_bytes=100_000)
    for events in (4, 4, 4, 30, 1):
        channel.offer(submission(events))
    sizes = []
    while batch := channel.take(LIMITS, 0):
        sizes.append([len(s.events) for s in batch])
    assert sizes == [[4, 4, 4], [30], [1]]


def test_close_drains_then_tells_every_worker() -> None:  # invariant 3
    channel = Channel(max_events=1000, max_bytes=100_000)
    channel.offer(submission())
    channel.close()
    assert not channel.offer(submission())
    assert len(channel.take(LIMITS, 0) or []) == 1
    assert [channel.take(LIMITS, 0) for _ in range(3)] == [None, None, None]


def test_many_takers_get_each_submission_once() -> None:  # invariants 2 and 3
    channel = Channel(max_events=100_000, max_bytes=1 << 30)
    taken: list[Submission] = []

    def worker() -> None:
        while (batch := channel.take(LIMITS, 0.1)) is not None:
            taken.extend(batch)

    workers = [threading.Thread(target=worker) for _ in range(4)]
    for thread in workers:
        thread.start()
    offered = [submission(n % 5 + 1) for n in range(2000)]
    for one in offered:
        assert channel.offer(one)
    channel.close()
    for thread in workers:
        thread.join(20)
    assert {id(s) for s in taken} == {id(s) for s in offered}
    assert len(taken) == len(offered)
    assert (channel.buffered_events, channel.buffered_bytes) == (0, 0)


def test_large_submissions_have_a_lane_of_their_own() -> None:  # invariant 5
    channel = Channel(max_events=100, max_bytes=1 << 20, large_bytes=1000)
    large, larger, small = submission(1, 1001), submission(1, 5000), submission(1, 1000)
    for one in (large, larger, small):
        assert channel.offer(one)
    assert channel.take(LIMITS, 0, large=False) == [small]
    assert channel.take(LIMITS, 0, large=False) == []
    channel.close()
    assert channel.take(LIMITS, 0, large=False) == []  # not drained
    assert channel.take(LIMITS, 0) == [large]
    assert channel.take(LIMITS, 0) == [larger]
    assert channel.take(LIMITS, 0) is None


class ChannelMachine(RuleBasedStateMachine):
    """The channel against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.channel = Channel(max_events=20, max_bytes=2000)
        self.waiting: list[Submission] = []
        self.closed = False

    @rule(events=st.integers(1, 25), size=st.integers(1, 2500))
    def offer(self, events: int, size: int) -> None:
        room = (
            not self.closed
            and sum(len(s.events) for s in self.waiting) < 20
            and sum(s.body_bytes for s in self.waiting) < 2000
        )
        one = submission(events, size)
        assert self.channel.offer(one) is room
        if room:
            self.waiting.append(one)

    @rule()
    def take(self) -> None:
        batch = self.channel.take(LIMITS, 0)
        if batch is None:
            assert self.closed
            assert not self.waiting
            return
        assert batch == self.waiting[: len(batch)]
        assert bool(batch) == bool(self.waiting)
        assert sum(len(s.events) for s in batch[:-1]) < LIMITS.max_events
        assert sum(s.body_bytes for s in batch[:-1]) < LIMITS.max_bytes
        self.waiting = self.waiting[len(batch) :]

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.channel.close()
        self.closed = True

    @invariant()
    def counts_are_exact(self) -> None:
        assert self.channel.buffered_events == sum(len(s.events) for s in self.waiting)
        assert self.channel.buffered_bytes == sum(s.body_bytes for s in self.waiting)


TestChannelMachine = ChannelMachine.TestCase
TestChannelMachine.settings = settings(max_examples=100, stateful_step_count=30)


class Loop:
    """What a channel uses of an event loop: callbacks from its own thread, and from others."""

    def __init__(self) -> None:
        self.own: list[Callable[[], object]] = []
        self.from_others: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self.own.append(lambda: callback(*args))

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> None:
        self.from_others.append(lambda: callback(*args))


def test_the_event_loop_is_woken_once_for_all_that_share_a_turn_or_a_publish() -> None:  # invariant 6
    loop = Loop()
    channel = Channel(1000, 100_000, loop=loop)  # type: ignore[arg-type]
    told: list[tuple[int, object]] = []

    def ack(number: int) -> Callable[[object], None]:
        return lambda fate: told.append((number, fate))

    for number in range(10):
        assert channel.offer(Submission(envelopes(1), 100, ack(number)))
    assert len(loop.own) == 1
    loop.own.pop()()
    assert channel.in_flight_events == 10
    channel.acknowledge(channel.take(LIMITS, 0) or [], "durable")
    assert channel.in_flight_events == 0
    assert (len(loop.from_others), told) == (1, [])
    loop.from_others.pop()()
    assert told == [(number, "durable") for number in range(10)]
    assert channel.offer(submission())
    assert len(loop.own) == 1


def test_a_request_that_cannot_be_answered_does_not_keep_others_from_it() -> None:  # invariant 6
    channel = Channel(10, 1000)
    told: list[object] = []

    def broken(_: object) -> None:
        raise OSError("the client is gone")

    for ack in (broken, told.append):
        channel.offer(Submission(envelopes(1), 100, ack))
    channel.acknowledge(channel.take(LIMITS, 0) or [], "spooled")
    assert told == ["spooled"]


class FillingChannel(Channel):
    """A taker that waits moves the clock: by `arrive_s` to the next of `arrivals`, or by all of its wait."""

    def __init__(self, arrive_s: float = 1000.0, *arrivals: int) -> None:
        self.clock = ManualClock()
        super().__init__(1000, 64 << 20, clock=self.clock)
        self.arrive_s = arrive_s
        self.arrivals = list(arrivals)
        self.on_arrival: Callable[[], None] = lambda: None

    def _wait(self, max_wait_s: float) -> None:
        if self.arrivals and self.arrive_s <= max_wait_s:
            self.clock.advance(self.arrive_s)
            self.offer(submission(self.arrivals.pop(0)))
            self.on_arrival()
        else:
            self.clock.advance(max_wait_s)

    def publish(self) -> list[Submission]:
        """A batch of another worker, which is in flight until it is acknowledged."""
        self.offer(submission(1))
        return self.take(BatchLimits(1, 1000), 0) or []

    def fill(self, events: int) -> tuple[list[int], float]:
        """The next batch, which begins with so many events and takes up to ten, and the time that it waited."""
        self.offer(submission(events))
        began = self.clock.monotonic()
        batch = self.take(BatchLimits(10, 1 << 20, fill_wait_s=0.1), 0) or []
        return [len(one.events) for one in batch], self.clock.monotonic() - began


def test_with_no_other_batch_in_flight_one_is_sent_at_once() -> None:  # invariant 7
    channel = FillingChannel(0.01, 1)
    assert channel.fill(3) == ([3], 0)
    channel.acknowledge([submission(3)], "durable")
    assert channel.fill(3) == ([3], 0)


def test_while_another_batch_is_in_flight_one_waits_to_fill_but_not_longer_than_its_time() -> None:  # invariant 7
    channel = FillingChannel()
    channel.publish()
    batch, waited_s = channel.fill(3)
    assert batch == [3]
    assert waited_s == pytest.approx(0.1)


def test_a_batch_that_fills_meanwhile_waits_no_longer() -> None:  # invariant 7
    channel = FillingChannel(0.01, 2, 4, 5, 1)
    channel.publish()
    batch, waited_s = channel.fill(3)
    assert batch == [3, 2, 4, 5]
    assert waited_s == pytest.approx(0.03)
    assert channel.fill(10) == ([10], 0)


def test_a_batch_that_waits_is_sent_once_no_other_is_in_flight() -> None:  # invariant 7
    channel = FillingChannel(0.01, 2, 1)
    other = channel.publish()
    channel.on_arrival = lambda: channel.acknowledge(other, "durable")
    batch, waited_s = channel.fill(3)
    assert batch == [3, 2]
    assert waited_s == pytest.approx(0.01)


def test_a_batch_of_a_closed_channel_does_not_wait_to_fill() -> None:  # invariants 3 and 7
    channel = FillingChannel(0.01, 2, 1)
    channel.publish()
    channel.on_arrival = channel.close
    batch, waited_s = channel.fill(3)
    assert batch == [3, 2]
    assert waited_s == pytest.approx(0.01)


def test_an_acknowledgement_wakes_the_batch_that_waits_to_fill() -> None:  # invariant 7
    channel = Channel(1000, 1 << 20)
    channel.offer(submission())
    other = channel.take(BatchLimits(1, 1), 0) or []
    channel.offer(submission())
    taker = threading.Thread(target=channel.take, args=(BatchLimits(10, 1 << 20, fill_wait_s=60.0), 0))
    taker.start()
    channel.acknowledge(other, "durable")
    taker.join(20)
    assert not taker.is_alive()
