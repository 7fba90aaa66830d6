"""Whether Kafka takes messages, as the door and health hear it."""

from parsec.adapters.kafka.monitor import RETRY_S, CircuitBreaker, KafkaHealth
from parsec.core.clock import ManualClock


def test_nothing_is_refused_before_anything_went_wrong() -> None:
    pulse = CircuitBreaker(ManualClock())
    assert pulse.refuses() is None
    assert pulse.state() == KafkaHealth(connected=True, why=None, last_ack_age_s=None)


def test_after_a_failed_publish_nothing_is_tried_for_a_moment() -> None:
    clock = ManualClock()
    pulse = CircuitBreaker(clock)
    pulse.acknowledged()
    clock.advance(5)
    pulse.failed("no answer")
    assert pulse.refuses() == "no answer"
    assert pulse.state() == KafkaHealth(connected=True, why="no answer", last_ack_age_s=5)
    clock.advance(RETRY_S)
    assert pulse.refuses() is None
    assert pulse.state().why == "no answer"  # until something is acknowledged
    pulse.acknowledged()
    assert pulse.state() == KafkaHealth(connected=True, why=None, last_ack_age_s=0)


def test_a_probe_that_is_answered_lets_the_next_publish_try() -> None:
    pulse = CircuitBreaker(ManualClock())
    pulse.failed("no answer")
    pulse.reached()
    assert pulse.refuses() is None


def test_while_probes_are_not_answered_all_is_refused() -> None:
    clock = ManualClock()
    pulse = CircuitBreaker(clock)
    pulse.missed("unreachable")
    clock.advance(1000)
    assert pulse.refuses() == "unreachable"
    assert not pulse.state().connected
    pulse.reached()
    assert pulse.refuses() is None
    assert pulse.state().connected
