"""complete_until never promises more than is stored."""

from parsec.core.clock import ManualClock
from parsec.process.completeness import KEPT_SAMPLES, Completeness


class Log:
    end = 0
    committed = 0


def test_moves_with_what_is_committed() -> None:
    clock, log = ManualClock(time_ns=1_000), Log()
    complete = Completeness(lambda: log.end, lambda: log.committed, clock)
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
    complete = Completeness(lambda: log.end, lambda: log.committed, clock)
    complete.sample()
    assert complete.until_ns() == 0


def test_a_long_backlog_keeps_the_moments_that_come_true_next() -> None:
    clock, log = ManualClock(time_ns=0), Log()
    complete = Completeness(lambda: log.end, lambda: log.committed, clock)
    for _ in range(3 * KEPT_SAMPLES):
        clock.advance(1)
        log.end += 1
        complete.sample()
    log.committed = log.end // 2
    half_ns = clock.time_ns() // 2
    assert half_ns - 16 * 1_000_000_000 <= complete.until_ns() <= half_ns
