"""complete_until never promises more than is stored."""

from parsec.process.watermark import MOST_SAMPLES, Ends, Watermark
from tests.support.manual_clock import ManualClock


class Log:
    end = 0
    committed = 0


def test_moves_with_what_is_committed() -> None:
    clock, log = ManualClock(time_ns=1_000), Log()
    complete = Watermark(lambda: Ends(clock.time_ns(), {0: log.end}), lambda: {0: log.committed})
    complete.sample()
    assert complete.until_ns() == 1_000
    log.end = 5
    clock.advance(1e-6)
    complete.sample()
    assert complete.until_ns() == 1_000  # five events are durable and not stored
    log.end = 9
    clock.advance(1e-6)
    complete.sample()
    assert complete.until_ns() == 1_000
    log.committed = 5
    assert complete.until_ns() == 2_000
    log.committed = 9
    clock.advance(1e-6)
    complete.sample()
    assert complete.until_ns() == 4_000


def test_an_old_backlog_promises_nothing() -> None:
    clock, log = ManualClock(time_ns=1_000), Log()
    log.end = 100
    complete = Watermark(lambda: Ends(clock.time_ns(), {0: log.end}), lambda: {0: log.committed})
    complete.sample()
    assert complete.until_ns() == 0


def test_a_long_backlog_keeps_the_moments_that_come_true_next() -> None:
    clock, log = ManualClock(time_ns=0), Log()
    complete = Watermark(lambda: Ends(clock.time_ns(), {0: log.end}), lambda: {0: log.committed})
    for _ in range(3 * MOST_SAMPLES):
        clock.advance(1)
        log.end += 1
        complete.sample()
    log.committed = log.end // 2
    half_ns = clock.time_ns() // 2
    assert half_ns - 16 * 1_000_000_000 <= complete.until_ns() <= half_ns


def test_each_partition_must_have_come_as_far() -> None:
    ends, committed = {0: 5, 1: 5}, {0: 10, 1: 4}
    complete = Watermark(lambda: Ends(1_000, dict(ends)), lambda: committed)
    complete.sample()
    assert complete.until_ns() == 0  # as many were committed in all, but not those
    committed[1] = 5
    assert complete.until_ns() == 1_000


def test_a_log_made_again_is_not_waited_for_as_the_old_one() -> None:
    ends, now = {0: 100}, [1_000]
    complete = Watermark(lambda: Ends(now[0], dict(ends)), lambda: {0: 3})
    complete.sample()
    ends[0], now[0] = 3, 2_000
    complete.sample()
    assert complete.until_ns() == 2_000


def test_the_same_sample_counts_once_and_none_not_at_all() -> None:
    samples: list[Ends | None] = [Ends(1_000, {0: 0}), Ends(1_000, {0: 7}), None]
    complete = Watermark(lambda: samples.pop(0), lambda: {0: 0})
    for _ in range(3):
        complete.sample()
    assert complete.until_ns() == 1_000
